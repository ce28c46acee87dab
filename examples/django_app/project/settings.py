"""The least that a project needs, and REDISFLOW."""

import os
from pathlib import Path

REDISFLOW = {
    "url": os.environ.get("REDISFLOW_URL", "redis://localhost:6379/0"),
    "namespace": os.environ.get("SHOP_NAMESPACE", "django-app"),
}

INSTALLED_APPS = ["redisflow.contrib.django", "shop"]
ROOT_URLCONF = "shop.urls"
ALLOWED_HOSTS = ["localhost", "testserver"]
SECRET_KEY = "an example keeps no secrets"  # noqa: S105  # and signs nothing
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DATABASE", Path(__file__).parents[1] / "db.sqlite3"),
        "OPTIONS": {"timeout": 60},  # seconds: web and worker processes share the file
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
