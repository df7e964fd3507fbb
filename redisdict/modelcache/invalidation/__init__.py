"""Detect changes of rows, find the cells that they concern, and invalidate these on the server."""
