"""What `manage.py redisbench` does; the command itself only parses, calls and prints."""
