"""The pages: each finds out what it shows through the public client, and names the template that shows it."""

from typing import Final

from redisflow.dashboard.pages.bulk import bulk_job
from redisflow.dashboard.pages.metrics import metrics
from redisflow.dashboard.pages.queues import queues, workers
from redisflow.dashboard.pages.run import run
from redisflow.dashboard.pages.runs import runs
from redisflow.dashboard.pages.schedules import schedules
from redisflow.dashboard.pages.signals import signals
from redisflow.dashboard.pages.start import new_run
from redisflow.dashboard.pages.system import system
from redisflow.dashboard.pages.workflows import workflow, workflows
from redisflow.dashboard.views import Page

PAGES: Final[tuple[tuple[str, Page], ...]] = (
    ("/runs", runs),
    ("/runs/new", new_run),
    ("/runs/{run_id}", run),
    ("/bulk/{job_id}", bulk_job),
    ("/workflows", workflows),
    ("/workflows/{name:path}", workflow),
    ("/queues", queues),
    ("/workers", workers),
    ("/schedules", schedules),
    ("/signals", signals),
    ("/metrics", metrics),
    ("/system", system),
)
