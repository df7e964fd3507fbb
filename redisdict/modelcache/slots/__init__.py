"""A row's cell on the server: how it is stored, leased to a reader and barred by a writer."""
