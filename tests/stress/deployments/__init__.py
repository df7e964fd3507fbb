"""Application servers of the real world, whose processes read what their master has read before.

`python -m tests.stress.deployments` runs those that are installed, and counts wrong values.
"""
