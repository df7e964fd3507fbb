"""Pages of servers, dicts and their items. Nothing here imports the benchmarks."""
