"""Do what `manage.py redisdict` is asked; the command itself only parses, calls and prints."""
