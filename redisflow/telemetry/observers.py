"""Several observers as one, none of which can stop what it observes.

What listens to runs is code of others (exporters, processors of spans): where it raises, a run must not hang and a
worker must not end. Each kind of failure is told in the log once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import Context
from functools import partial
from typing import Any, cast

from redisflow.contract import Claim, NewRun
from redisflow.contract.observer import Attempt, AttemptEnd, Backlog, Observer, Vitals
from redisflow.records import Record

_log = logging.getLogger("redisflow.telemetry")


class Observers(Observer):
    """They are told one after the other."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        """At least one."""
        self._all = tuple(observers)
        self._detailed = tuple(each for each in observers if each.wants_details)
        self._of_attempts = tuple(each for each in self._detailed if each.wants_attempts)
        self._of_calls = tuple(each for each in observers if each.wants_calls)
        self._of_backlog = tuple(each for each in observers if each.wants_backlog)
        self.wants_details = bool(self._detailed)
        self.wants_attempts = bool(self._of_attempts)
        self.wants_calls = bool(self._of_calls)
        self.wants_backlog = bool(self._of_backlog)
        self._failures: set[tuple[str, str]] = set()

    def _tell(self, observers: Sequence[Observer], what: str, *about: Any) -> list[Any]:
        """What each that did not fail has answered."""
        answers: list[Any] = []
        for each in observers:
            try:
                answers.append(getattr(each, what)(*about))
            except Exception as error:  # noqa: BLE001  # code of others: the module says why
                self._note(each, what, error)
        return answers

    def _note(self, observer: Observer, what: str, error: Exception) -> None:
        failure = (f"{type(observer).__name__}.{what}", type(error).__name__)
        if failure not in self._failures:
            self._failures.add(failure)
            # Its words may be what users store.
            _log.error("telemetry: %s failed: %s; runs go on, and this is told once", *failure)

    def starting(self, new: NewRun) -> AbstractContextManager[object]:
        """See `Observer`."""
        return self._starting(new)

    @contextmanager
    def _starting(self, new: NewRun) -> Generator[None]:
        stack = ExitStack()
        for each in self._all:
            try:
                stack.enter_context(each.starting(new))
            except Exception as error:  # noqa: BLE001  # as above
                self._note(each, "starting", error)
        try:
            yield
        except BaseException as error:  # raised again: a start that is cancelled is one that failed, for each of them
            self._leave(partial(stack.__exit__, type(error), error, error.__traceback__))
            raise
        self._leave(stack.close)

    def _leave(self, leave: Callable[[], object]) -> None:
        """Whether the run was stored is known by then: what goes wrong now changes nothing of it."""
        try:
            leave()
        except Exception as error:  # noqa: BLE001  # as above
            self._note(self, "starting", error)

    def worker_began(self, name: str, vitals: Callable[[], Vitals]) -> None:
        """See `Observer`."""
        self._tell(self._all, "worker_began", name, vitals)

    def worker_ended(self, name: str) -> None:
        """See `Observer`."""
        self._tell(self._all, "worker_ended", name)

    def run_taken(self, claim: Claim, worker: str, at_ms: int) -> None:
        """See `Observer`."""
        self._tell(self._all, "run_taken", claim, worker, at_ms)

    def run_left(self, claim: Claim, how: str, at_ms: int) -> None:
        """See `Observer`."""
        self._tell(self._all, "run_left", claim, how, at_ms)

    def attempt_failed(self, claim: Claim, at_ms: int) -> None:
        """See `Observer`."""
        self._tell(self._all, "attempt_failed", claim, at_ms)

    def reclaimed(self, runs: int) -> None:
        """See `Observer`."""
        self._tell(self._all, "reclaimed", runs)

    def exposition(self) -> bytes | None:
        """See `Observer`: the first that there is."""
        return cast("bytes | None", _first(self._tell(self._all, "exposition")))

    def mark_of(self, claim: Claim) -> str | None:
        """See `Observer`: the first that there is."""
        return cast("str | None", _first(self._tell(self._of_attempts, "mark_of", claim)))

    def attempt_began(self, claim: Claim, attempt: Attempt) -> Context | None:
        """See `Observer`: all are told, and the first context counts."""
        return cast("Context | None", _first(self._tell(self._of_attempts, "attempt_began", claim, attempt)))

    def attempt_ended(self, claim: Claim, attempt: Attempt, how: AttemptEnd, error: BaseException | None) -> None:
        """See `Observer`."""
        self._tell(self._of_attempts, "attempt_ended", claim, attempt, how, error)

    def recorded(self, claim: Claim, records: Sequence[Record]) -> None:
        """See `Observer`."""
        self._tell(self._detailed, "recorded", claim, records)

    def script_called(self, script: str, seconds: float) -> None:
        """See `Observer`."""
        self._tell(self._of_calls, "script_called", script, seconds)

    def redis_failed(self) -> None:
        """See `Observer`."""
        self._tell(self._of_calls, "redis_failed")

    def backlog_seen(self, backlog: Backlog) -> None:
        """See `Observer`."""
        self._tell(self._of_backlog, "backlog_seen", backlog)


def _first(answers: list[Any]) -> Any:
    return next((answer for answer in answers if answer is not None), None)
