"""Settings of a shop of django-oscar, as its documents have them, with one cache or none.

What the process is, and where the servers are, is in GIVEN.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from oscar import INSTALLED_APPS as OSCAR_APPS
from oscar.defaults import *  # noqa: F403  # as oscar's documents say

GIVEN = json.loads(os.environ["REDISDICT_BENCHMARK"])
KIND: str = GIVEN["kind"]
HERE = Path(__file__).parent

CACHE = KIND.partition(",")[0].partition(" ")[0]  # or "ORM"
HAS_PAGE = "page" in KIND
HAS_FRAGMENTS = HAS_PAGE or "fragments" in KIND
NEAR = 60 if "near" in KIND else None

#: The models that pages of products are made of.
SHOWN = [
    "catalogue.Product",
    "catalogue.ProductClass",
    "catalogue.ProductCategory",
    "catalogue.ProductRecommendation",
    "catalogue.ProductAttribute",
    "catalogue.ProductAttributeValue",
    "catalogue.ProductImage",
    "catalogue.Category",
    "catalogue.Option",
    "partner.StockRecord",
    "partner.Partner",
    "reviews.ProductReview",
    "thumbnail.KVStore",
]

SECRET_KEY = "benchmark"  # noqa: S105  # of nothing
ALLOWED_HOSTS = ["shop.example"]
ROOT_URLCONF = "benchmarks.site.urls"
USE_TZ = True
SITE_ID = 1
LANGUAGE_CODE = "en-gb"
LANGUAGES = [("en-gb", "English")]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"
MEDIA_URL = "/media/"
MEDIA_ROOT = GIVEN["media"]

INSTALLED_APPS = [
    *OSCAR_APPS,
    "sorl.thumbnail",
    "benchmarks.site",
    *{"redisdict": ["redisdict"], "cacheops": ["cacheops"], "cachalot": ["cachalot"]}.get(
        CACHE, ()
    ),
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "oscar.apps.basket.middleware.BasketMiddleware",
    "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware",
]
KEPT = [*(["page"] if HAS_PAGE else []), *(["fragments"] if HAS_FRAGMENTS else [])]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.template.context_processors.i18n",
                "django.contrib.messages.context_processors.messages",
                "oscar.apps.search.context_processors.search_form",
                "oscar.apps.checkout.context_processors.checkout",
                "oscar.apps.communication.notifications.context_processors.notifications",
                "oscar.core.context_processors.metadata",
            ],
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    [
                        *(("benchmarks.site.loader.Loader", [HERE / name]) for name in KEPT),
                        ("django.template.loaders.filesystem.Loader", [HERE / "templates"]),
                        "django.template.loaders.app_directories.Loader",
                    ],
                )
            ],
        },
    }
]
AUTHENTICATION_BACKENDS = (
    "oscar.apps.customer.auth_backends.EmailBackend",
    "django.contrib.auth.backends.ModelBackend",
)
HAYSTACK_CONNECTIONS = {"default": {"ENGINE": "haystack.backends.simple_backend.SimpleEngine"}}
DATABASES = {"default": {**GIVEN["database"], "CONN_MAX_AGE": None}}
REDISDICT = {"default": {"LOCATION": GIVEN["server"]}}
CACHES = {
    "default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": GIVEN["server"]},
}
CACHEOPS_REDIS = GIVEN["server"]
CACHEOPS = {"*.*": {"ops": "all", "timeout": 3600}}
LOGGING = {"version": 1, "disable_existing_loggers": False}
