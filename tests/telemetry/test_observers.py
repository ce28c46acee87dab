"""What listens is code of others: it may fail, and stops nothing."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from redisflow import RedisFlow, RetryPolicy, Step, StepOptions
from redisflow.contract import NewRun
from redisflow.contract.observer import Observer
from tests.stories.world import eventually

TOLD = (
    *("worker_began", "worker_ended", "run_taken", "run_left", "attempt_failed", "reclaimed", "exposition"),
    *("mark_of", "attempt_began", "attempt_ended", "recorded", "script_called", "redis_failed", "backlog_seen"),
)


class Broken(Observer):
    """Fails whatever it is told."""

    wants_details = True
    wants_attempts = True
    wants_backlog = True
    wants_calls = True

    def __init__(self) -> None:
        self.told: set[str] = set()

    def bound(self, namespace: str) -> Observer:
        return self

    @contextmanager
    def starting(self, new: NewRun) -> Generator[None]:
        self.told.add("starting")
        yield
        raise RuntimeError("my secret")


def _fail(name: str) -> Any:
    def fail(self: Broken, *_: object) -> None:
        self.told.add(name)
        raise RuntimeError("my secret")

    return fail


for each in TOLD:
    setattr(Broken, each, _fail(each))


async def test_an_observer_that_always_fails_stops_no_run_and_no_worker(
    valkey_url: str, namespace: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redisflow.worker.telling.LOOK_S", 0.01)
    broken = Broken()
    async with RedisFlow(valkey_url, namespace=namespace, telemetry=[broken]) as flow:
        tries: list[int] = []

        @flow.define_workflow("pay")
        async def pay(step: Step) -> str:
            async def body() -> str:
                tries.append(1)
                if len(tries) == 1:
                    raise OSError
                return "paid"

            await step.sleep("nap", "1ms")
            return await step.run(StepOptions("charge", retry=RetryPolicy(initial_interval="1ms", jitter=0)), body)

        async with flow.new_worker(concurrency=1):
            # One place: a run that were not let go would keep all others out.
            for _ in range(5):
                assert await (await pay.run()).result(timeout=30) == "paid"
            await eventually(lambda: _has_heard(broken, ("backlog_seen", "run_left")))
    assert {"starting", "run_taken", "attempt_began", "attempt_ended", "attempt_failed", "recorded"} <= broken.told
    assert {"worker_began", "worker_ended", "mark_of", "script_called"} <= broken.told
    about = [record.getMessage() for record in caplog.records if record.name == "redisflow.telemetry"]
    assert len(about) == len(set(about))
    assert any("Broken.run_taken failed: RuntimeError" in line for line in about)
    assert "secret" not in caplog.text
    assert "the worker stops" not in caplog.text


async def _has_heard(broken: Broken, names: Sequence[str]) -> bool:
    return set(names) <= broken.told


async def test_what_a_start_itself_raises_is_what_its_caller_sees(valkey_url: str, namespace: str) -> None:
    async with RedisFlow(valkey_url, namespace=namespace, telemetry=[Broken()]) as flow:
        observer = flow.backend.observer
        assert observer is not None
        with pytest.raises(KeyError, match="of the start"), observer.starting(None):  # type: ignore[arg-type]  # it looks at none
            raise KeyError("of the start")
