"""Reads answered from this process's memory, kept right by what the server pushes.

`state` has what is kept and the rules that make it right, without input or output; `eviction`
bounds it; `listener` holds the tracking connection; `barrier` has `near="request"`. docs/near.md
has the promises and their proofs.
"""
