"""The least that a project needs, and REDISFLOW: replace it by your own."""

import os
from pathlib import Path

REDISFLOW = {"url": os.environ.get("REDISFLOW_URL"), "namespace": "shop"}

INSTALLED_APPS = ["redisflow.contrib.django", "shop"]
ROOT_URLCONF = "project.urls"
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "testserver"]
SECRET_KEY = os.environ.get("SECRET_KEY", "change me: this one is known to everybody")
DEBUG = os.environ.get("DEBUG") == "1"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": Path(__file__).parents[1] / "db.sqlite3",
        "OPTIONS": {"timeout": 60},  # seconds: web and worker processes share the file
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
