"""Handle a row's cell on the server: the value, a reader's lease, writers' barriers."""
