"""Processes that read and write the same rows while others of them are killed.

Nobody may ever read a row as it was before a change that was visible when the read began. Run it
with `python -m tests.stress.modelcache --help`.
"""
