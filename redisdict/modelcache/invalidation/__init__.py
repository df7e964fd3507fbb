"""See what changes rows, find out which cached ones that concerns, and tell the server."""
