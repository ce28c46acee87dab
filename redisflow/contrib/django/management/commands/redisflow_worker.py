"""`manage.py redisflow_worker`: `redisflow worker` for the flow of this project."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from redisflow.cli.worker import add_worker_options, start_worker

FLOW = "redisflow.contrib.django.worker:flow"


class Command(BaseCommand):
    """Work until SIGTERM or SIGINT."""

    help = "Claim and run the workflows of this project until SIGTERM or SIGINT."
    requires_system_checks = []  # noqa: RUF012  # as Django declares it: a worker serves no URLs

    def add_arguments(self, parser: CommandParser) -> None:
        """Those of `redisflow worker`."""
        add_worker_options(parser)

    def handle(self, *_: Any, **options: Any) -> None:
        """Work; the exit code is that of `redisflow worker`."""
        read = argparse.Namespace(**options, flow=FLOW)
        # What manage.py put first is where its project is; worker processes start elsewhere.
        read.path = tuple(dict.fromkeys((*read.path, *sys.path[:1])))
        code = start_worker(read)
        if code:
            sys.exit(code)
