"""A clock that the test moves: a real server, normal workers, and months that pass in milliseconds."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from examples import sleep
from redisflow import DeadlineExceeded, InvalidWorkflow, RetryPolicy, Step, StepOptions
from redisflow.testing import NotAtRest, virtual_clock
from tests.stories.world import adopt, until

pytestmark = pytest.mark.usefixtures("no_key_left")


async def test_time_skips_by_itself_while_somebody_waits_for_a_result(flow, clock):
    @flow.define_workflow("year")
    async def year(step: Step) -> list[datetime]:
        seen = [step.now()]
        for _ in range(12):
            await step.sleep("month", "30d")
            seen.append(step.now())
        return seen

    async with flow.new_worker():
        handle = await year.run()
        seen = await handle.result(timeout="1m")
    assert {later - earlier for earlier, later in pairwise(seen)} == {timedelta(days=30)}
    run = await handle.get()
    assert run.finished_at - run.created_at == timedelta(days=360), "not a millisecond more"
    assert clock.now == run.finished_at


async def test_what_falls_due_on_the_way_happens_at_its_own_time(flow, clock):
    workflow = adopt(flow, sleep.trial)

    @flow.define_workflow("hourly")
    async def hourly(step: Step) -> None:
        while True:
            await step.sleep("an-hour", "1h")
            await step.run("look", lambda: None)

    async with flow.new_worker():
        trial, hours = await workflow.run("2d"), await hourly.run()
        await clock.advance("1d23h")
        assert (await trial.get()).waiting_for == "timer"
        await clock.advance("1h")
        assert (await trial.get()).status == "succeeded"
        looks = [step for step in (await hours.get()).steps if step.key.startswith("look")]
        assert len(looks) == 48
        began_at = (await hours.get()).created_at
        assert [look.started_at for look in looks[:3]] == [began_at + timedelta(hours=number) for number in (1, 2, 3)]
        await hours.cancel()


async def test_a_step_may_run_as_long_as_it_likes_and_takes_no_time(flow, clock):
    async def work() -> str:
        await asyncio.sleep(0.05)  # the work itself: by real time, of which the clock knows nothing
        return "done"

    @flow.define_workflow("work")
    async def working(step: Step) -> str:
        _, done = await asyncio.gather(step.sleep("nap", "1ms"), step.run("work", work))
        return done

    async with flow.new_worker():
        handle = await working.run()
        assert await handle.result(timeout="1m") == "done"
    steps = {step.key: step for step in (await handle.get()).steps}
    assert steps["work"].finished_at == steps["work"].started_at < steps["nap"].finished_at


async def test_a_body_that_is_held_is_overtaken_by_timers_and_deadlines(flow, clock):
    began = asyncio.Event()
    order: list[str] = []

    async def hold() -> None:
        began.set()
        await asyncio.Event().wait()

    @flow.define_workflow("held")
    async def held(step: Step) -> None:
        async def nap() -> None:
            await step.sleep("nap", "10d")
            await step.run("note", lambda: order.append("after the nap"))

        await asyncio.gather(step.run("hold", hold), nap())

    async with flow.new_worker():
        handle = await held.run(deadline_at="20d")
        await began.wait()
        await clock.advance("10d", settle=False)
        await until(flow, handle.id, lambda _: order)
        assert (await handle.get()).claims == 1, "its holder woke the sleep"
        await clock.advance("10d", settle=False)
        with pytest.raises(DeadlineExceeded):
            await handle.result(timeout="1m")
    run = await handle.get()
    assert run.finished_at - run.created_at == timedelta(days=20)


async def test_retries_delayed_starts_and_timeouts_of_waits_follow_it(flow, clock):
    tries: list[datetime] = []

    async def flaky() -> None:
        tries.append(clock.now)
        if len(tries) < 4:
            raise ConnectionError

    @flow.define_workflow("patient")
    async def patient(step: Step) -> object:
        policy = RetryPolicy(initial_interval="1h", backoff_coefficient=2, maximum_interval="1d", jitter=0)
        await step.run(StepOptions("flaky", retry=policy), flaky)
        return await step.wait_for_signal("approval", str, timeout="3d")

    async with flow.new_worker():
        handle = await patient.run(available_at="1d")
        assert await clock.skip() is not None
        assert await clock.skip() == tries[1]
        await clock.advance("6h")
        assert [later - earlier for earlier, later in pairwise(tries)] == [
            timedelta(hours=hours) for hours in (1, 2, 4)
        ]
        await handle.signal("approval", "yes")
        assert await handle.result(timeout="1m") == "yes"
        unanswered = await patient.run()
        await clock.advance("3d")
        assert await unanswered.result(timeout="1m") is None
        assert await clock.skip() is None


async def test_it_begins_when_the_test_says_and_never_goes_back(flow):
    start = datetime(2019, 12, 31, 23, 59, tzinfo=UTC)
    workflow = adopt(flow, sleep.launch)
    async with virtual_clock(flow, start=start, auto_skip=False) as clock, flow.new_worker():
        handle = await workflow.run(datetime(2020, 1, 1, tzinfo=UTC))
        await clock.advance(datetime(2020, 6, 1, tzinfo=UTC))
        assert (await handle.get()).finished_at == datetime(2020, 1, 1, tzinfo=UTC)
        with pytest.raises(ValueError, match="does not go back"):
            await clock.advance(start)
    async with flow.new_worker():
        later = await workflow.run(start)
        await later.result(timeout="1m")
    assert (await later.get()).created_at.year > 2020, "afterwards the flow goes by its server's time"


async def test_a_schedule_fires_at_each_of_its_ticks_also_where_the_clocks_change(flow):
    fired: list[datetime | None] = []

    @flow.define_workflow("report")
    async def report(step: Step) -> None:
        fired.append(step.info.scheduled_at)

    before_the_clocks_change = datetime(2020, 3, 27, tzinfo=UTC)
    async with virtual_clock(flow, start=before_the_clocks_change) as clock, flow.new_worker():
        await flow.schedules.create("nightly", report, cron="0 3 * * *", timezone="Europe/Paris")
        await clock.advance("3d")
        await flow.schedules.pause("nightly")
        await clock.advance("1d")
    assert fired == [datetime(2020, 3, day, hour, tzinfo=UTC) for day, hour in ((27, 2), (28, 2), (29, 1))]
    await flow.schedules.delete("nightly")


async def test_what_does_not_come_to_rest_is_named(flow):
    workflow = adopt(flow, sleep.trial)
    async with virtual_clock(flow, patience="50ms") as clock:
        handle = await workflow.run("1d")
        with pytest.raises(NotAtRest, match=f"trial {handle.id} is pending: no worker has taken it up"):
            await clock.advance("1d")
        with pytest.raises(InvalidWorkflow, match="clock of a test"):
            flow.new_worker(processes=2)


@pytest.mark.parametrize("server_kind", ["valkey"])
async def test_workers_keep_their_leases_whatever_the_time(flow, clock, caplog):
    began, go = asyncio.Event(), asyncio.Event()

    async def body() -> str:
        began.set()
        await go.wait()
        return "once"

    @flow.define_workflow("leased")
    async def leased(step: Step) -> str:
        return await step.run("body", body)

    async with flow.new_worker(lease="1s"):
        handle = await leased.run()
        await began.wait()
        await clock.advance("365d", settle=False)
        over_s = time.monotonic() + 1.5
        await until(flow, handle.id, lambda _: time.monotonic() > over_s)
        go.set()
        assert await handle.result(timeout="1m") == "once"
        assert (await handle.get()).claims == 1
    assert "lease_lost" not in caplog.text
