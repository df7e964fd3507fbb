"""Answer reads from this process's memory, which the server's messages invalidate.

`state` has the entries and the rules that keep them right, without input or output; `eviction`
bounds them; `listener` holds the tracking connection; `barrier` has `near="request"`. docs/near.md
has the promises and their proofs.
"""
