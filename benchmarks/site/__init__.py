"""Pages of a real site, django-oscar, with and without caches: `python -m benchmarks.site`."""
