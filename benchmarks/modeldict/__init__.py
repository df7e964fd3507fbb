"""What a cached row costs, by `ModelDict`, by the ORM, and by other caches.

`python -m benchmarks.modeldict` measures what is installed of `requirements.txt` beside it.
"""
