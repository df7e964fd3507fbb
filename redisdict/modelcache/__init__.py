"""ModelDict: model instances from the server, never older than the last commit."""
