"""Django's own tests, run against the cache backend; `redisdict_suite` is put beside them."""
