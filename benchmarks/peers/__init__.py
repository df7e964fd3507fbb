"""This package beside other clients and dicts: `python -m benchmarks.peers`."""
