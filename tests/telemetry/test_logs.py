"""Lines of the log: which run they are about, and how they look as JSON."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from redisflow import NonRetryableError, RedisFlow, Step, WorkflowFailed
from redisflow.telemetry.logs import FIELDS, JsonLines, RunFields


class Kept(logging.Handler):
    """Keeps what it is given, as a handler of an application would show it."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.addFilter(RunFields())

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def fields(self, text: str) -> tuple[object, ...]:
        """Of the line that holds this text."""
        (found,) = [record for record in self.records if text in record.getMessage()]
        return tuple(getattr(found, name) for name in FIELDS)


@pytest.fixture
def kept(caplog: pytest.LogCaptureFixture) -> Kept:
    caplog.set_level("DEBUG")
    handler = Kept()
    logging.getLogger().addHandler(handler)
    return handler


async def test_what_steps_and_workflows_log_is_about_their_run(flow: RedisFlow, kept: Kept) -> None:
    log = logging.getLogger("shop")

    @flow.define_workflow("order")
    async def order(step: Step) -> None:
        def in_a_thread() -> None:
            log.info("in a thread")

        async def on_the_loop() -> None:
            log.info("on the loop")
            raise NonRetryableError

        log.info("in the workflow")
        await step.run("thread", in_a_thread)
        await step.run("loop", on_the_loop)

    @flow.define_workflow("other")
    async def other(step: Step) -> None:
        log.info("in another")

    try:
        async with flow.new_worker():
            handle, more = await order.run(), await other.run()
            await more.result(timeout=30)
            with pytest.raises(WorkflowFailed):
                await handle.result(timeout=30)
            log.info("of nobody")
    finally:
        logging.getLogger().removeHandler(kept)
    run = (handle.id, "order")
    assert kept.fields("in another") == (more.id, "other", None, None)
    assert kept.fields("of nobody") == (None, None, None, None)
    assert kept.fields("in the workflow") == (*run, None, None)
    assert kept.fields("in a thread") == (*run, "thread", 1)
    assert kept.fields("on the loop") == (*run, "loop", 1)


async def test_lines_of_the_worker_about_a_run_have_its_fields(flow: RedisFlow, kept: Kept) -> None:
    @flow.define_workflow("bad")
    async def bad(step: Step) -> None:
        msg = "a secret"
        raise ValueError(msg)

    try:
        async with flow.new_worker():
            handle = await bad.run()
            with pytest.raises(WorkflowFailed):
                await handle.result(timeout=30)
    finally:
        logging.getLogger().removeHandler(kept)
    assert kept.fields("run.failed") == (handle.id, "bad", None, None)
    about = [record for record in kept.records if handle.id in record.getMessage()]
    assert about
    assert all(record.run_id == handle.id for record in about)  # type: ignore[attr-defined]  # which RunFields adds
    assert not any("a secret" in JsonLines().format(record) for record in about)


def test_a_line_is_json_whatever_is_in_it() -> None:
    try:
        raise KeyError("é\n")
    except KeyError:
        record = logging.LogRecord("shop", logging.ERROR, __file__, 1, "a\n%s", ("ü",), sys.exc_info())
    record.amount, record.what, record.step = 7, object, None
    line = JsonLines().format(record)
    assert "\n" not in line
    said = json.loads(line)
    assert said["message"] == "a\nü"
    assert said["level"] == "ERROR"
    assert said["amount"] == 7
    assert said["what"] == str(object)
    assert "KeyError" in said["exception"]
    assert "step" not in said
    assert said["time"].endswith("+00:00")
