"""A persistent dict and model cache for Django on Redis-compatible servers."""
