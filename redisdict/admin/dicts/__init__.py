"""Show servers, dicts and their items. Nothing here imports the benchmarks."""
