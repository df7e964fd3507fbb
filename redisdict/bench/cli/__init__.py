"""Carry out the actions of `manage.py redisbench`; the command itself only parses and prints."""
