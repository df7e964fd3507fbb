"""Compare the server's cells of a cached table with the database, without false alarms."""
