"""Which of Django's tests the serializer "msgpack" must fail, each with the reason.

With "pickle" none fails. One of these that passes is a failure, too.
"""

CACHE = "redisdict_suite.tests.DictCacheTests."

#: They store what it refuses, and always will.
REFUSED = {
    f"{CACHE}test_data_types": "stores a function and a class",
    f"{CACHE}test_cache_read_for_model_instance_with_deferred": (
        "stores a queryset, and model instances with deferred fields"
    ),
    f"{CACHE}test_cache_write_for_model_instance_with_deferred": (
        "stores a queryset, and model instances with deferred fields"
    ),
}

FAILING = {"pickle": set(), "msgpack": {*REFUSED}}
