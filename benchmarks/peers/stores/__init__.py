"""Clients and dicts, each behind the same few operations."""
