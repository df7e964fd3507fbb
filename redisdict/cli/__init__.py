"""Carry out the actions of `manage.py redisdict`; the command itself only parses and prints."""
