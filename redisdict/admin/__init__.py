"""Show redisdict's pages in Django's admin."""

from redisdict.admin.audits.admin import AuditCountAdmin
from redisdict.admin.dicts.admin import StoredDictAdmin
from redisdict.admin.runs.admin import BenchmarkRunAdmin

__all__ = ["AuditCountAdmin", "BenchmarkRunAdmin", "StoredDictAdmin"]
