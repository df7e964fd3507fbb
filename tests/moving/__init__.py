"""An app with migrations, of which the last fails when it is told to."""
