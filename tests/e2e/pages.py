"""The pages of the dashboard, with what stands on them when the shop is filled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

PAGES: Final[Mapping[str, tuple[str, str, Sequence[str]]]] = {
    "runs": ("/runs", "Runs", ("Status", "Workflow", "50 runs on this page")),
    "some runs": ("/runs?q=tag:customer%3Dc1", "Runs", ("tag:customer=c1", "Clear all", "1 run on this page")),
    "no runs": ("/runs?q=workflow:nothing", "Runs", ("No run matches",)),
    "a filter that is none": ("/runs?q=colour:red", "Runs", ("this is nothing that can be asked for",)),
    "start a run": ("/runs/new?workflow=order", "New run", ("Input, as JSON", "What order takes")),
    "a run that succeeded": ("/runs/{runs.succeeded}", "order", ("charge", "pack", "o-1", "Timeline")),
    "a step of it": ("/runs/{runs.succeeded}?step=charge", "order", ("r-o-1", "Attempts")),
    "its steps": ("/runs/{runs.succeeded}?tab=steps", "order", ("charge", "pack")),
    "its events": ("/runs/{runs.hostile}?tab=events", "hostile", ("said",)),
    "its json": ("/runs/{runs.succeeded}?tab=json", "order", ("The run as JSON", "parcel of o-1")),
    "a run that failed": ("/runs/{runs.failed}", "refund", ("ZeroDivisionError", "pay back")),
    "the step that failed": ("/runs/{runs.failed}?step=pay+back", "refund", ("return 100 // (amount - amount)",)),
    "a run that sleeps": ("/runs/{runs.sleeping}", "nap", ("waiting: timer", "an hour", "Next due")),
    "a run that waits for a signal": ("/runs/{runs.waiting}", "approval", ("waiting: signal", "approved")),
    "children": ("/runs/{runs.family}?tab=children", "family", ("first", "second", "order")),
    "a run that runs": ("/runs/{runs.running}", "held", ("running", "hold")),
    "a stranded run": ("/runs/{runs.stranded}", "orphan", ("No worker takes it up",)),
    "a large run": ("/runs/{runs.large}", "laps", ("Page 1 of 2", "lap 007")),
    "workflows": ("/workflows", "Workflows", ("order", "refund", "stuck")),
    "a workflow": ("/workflows/order", "order", ("Latest runs", "Versions", "Succeeded")),
    "queues": ("/queues", "Queues", ("default", "mail", "paused")),
    "workers": ("/workers", "Workers", ("alive", "orphan")),
    "schedules": ("/schedules", "Schedules", ("hourly", "nightly", "overlap: skip")),
    "signals": ("/signals", "Signals", ("approved", "approval")),
    "metrics": ("/metrics", "Metrics", ("Runs per minute", "Started", "Duration p50 / p95")),
    "system": ("/system", "System", ("Partitions", "Valkey", "Round trip")),
}
