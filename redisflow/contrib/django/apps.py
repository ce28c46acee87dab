"""The app: at start-up it imports `workflows.py` of every installed app, so that web and worker processes know them."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class RedisflowConfig(AppConfig):
    """Put `redisflow.contrib.django` into INSTALLED_APPS."""

    name = "redisflow.contrib.django"
    label = "redisflow"

    def ready(self) -> None:
        """Find the workflows; nothing is connected."""
        autodiscover_modules("workflows")
