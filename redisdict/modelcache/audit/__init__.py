"""Compare what the server has of a cached table with the database, without ever a false alarm."""
