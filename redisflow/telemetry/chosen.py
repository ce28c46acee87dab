"""What listens to the runs of a flow: chosen where the flow is made, and asked for by each of its connections."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from redisflow import telemetry
from redisflow.contract.observer import Observer
from redisflow.errors import MissingExtra
from redisflow.telemetry.observers import Observers


class Telemetry:
    """Of one flow, in all of its event loops."""

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        """TypeError where something is no telemetry."""
        self.observers = list(observers)
        for each in self.observers:
            if not isinstance(each, Observer):
                msg = f"telemetry is a list of OpenTelemetry(), Prometheus() and the like, not of {each!r}"
                raise TypeError(msg)

    def add_metrics(self) -> None:
        """What is served at a worker's `/metrics`, where nothing was chosen and the library for it is installed.

        For connections that are opened from now on.
        """
        if not any(each.has_metrics for each in self.observers):
            with contextlib.suppress(MissingExtra):
                self.observers.append(telemetry.Prometheus())

    def observer(self, namespace: str) -> Observer | None:
        """Who is to be told of this namespace; None where nobody listens."""
        return Observers([each.bound(namespace) for each in self.observers]) if self.observers else None
