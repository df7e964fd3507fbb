"""Cache model instances on the server, never older than the last commit (`ModelDict`)."""
