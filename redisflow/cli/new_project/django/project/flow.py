"""The project's flow, for what does not come through `manage.py`: `redisflow dev`, `redisflow worker`, the tests."""

import os

import django

from redisflow.contrib.django import get_flow

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django.setup()
flow = get_flow()
