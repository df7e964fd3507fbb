"""Measurements that need more than the package itself; not a part of it."""
