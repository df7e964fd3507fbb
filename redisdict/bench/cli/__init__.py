"""Do what `manage.py redisbench` is asked; the command itself only parses, calls and prints."""
