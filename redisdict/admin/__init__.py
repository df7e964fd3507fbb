"""The pages of redisdict in Django's admin."""

from redisdict.admin.dicts import StoredDictAdmin
from redisdict.admin.runs import BenchmarkRunAdmin

__all__ = ["BenchmarkRunAdmin", "StoredDictAdmin"]
