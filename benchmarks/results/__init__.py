"""Results of queries beside the plain ORM and other caches: `python -m benchmarks.results`."""
