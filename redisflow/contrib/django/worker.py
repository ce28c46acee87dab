"""The project's flow as a module: what worker processes import, with DJANGO_SETTINGS_MODULE in their environment.

`redisflow worker redisflow.contrib.django.worker:flow` does the same as `manage.py redisflow_worker`.
"""

import django

from redisflow.contrib.django.configured import get_flow

django.setup()
flow = get_flow()
