"""Schedules: a report each night in Paris, and a clean-up so often that this example sees it happen.

Exactly one run starts for each tick, however many workers there are, and whoever of them restarts. A run knows its tick
from `step.info.scheduled_at`.
"""

import asyncio
import os

from redisflow import RedisFlow, Schedule, ScheduleNotFound, Step

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="nightly")


async def count(what: str) -> int:
    return {"orders": 42, "visitors": 1200}[what]


@flow.define_workflow("report")
async def report(what: str, step: Step) -> str:
    return f"{await step.run('count', count, what)} {what}"


# Declared with its workflow: a worker that starts creates the schedule.
@flow.define_workflow("clean-up", schedule=Schedule(every="200ms", overlap="queue"))
async def clean_up(step: Step) -> str:
    planned = step.info.scheduled_at
    return "on demand" if planned is None else f"planned for .{planned.microsecond // 100_000}"


async def main() -> None:
    async with flow:
        nightly = await flow.schedules.create(
            "nightly", report, cron="0 3 * * *", timezone="Europe/Paris", input="orders", catch_up="last"
        )
        # Each night at 3 in Paris: 1 UTC in summer, 2 UTC in winter.
        times = nightly.next_fire_times(365)
        print("hours, in UTC:", sorted({time.hour for time in times}))

        async with flow.new_worker():
            handle = await flow.schedules.trigger("nightly")
            if handle is not None:
                print("triggered:", await handle.result(timeout="1m"))

            while (run_id := await last_run_of("clean-up")) is None:  # noqa: ASYNC110  # no event tells of it
                await asyncio.sleep(0.05)
            await flow.schedules.pause("clean-up")
            clean = await flow.get_handle(run_id, clean_up)
            print("cleaned up:", await clean.result(timeout="1m"))

        for schedule in await flow.schedules.list():
            print(schedule.id, "is paused" if schedule.is_paused else "goes on")
            await flow.schedules.delete(schedule.id)


async def last_run_of(schedule_id: str) -> str | None:
    try:
        return (await flow.schedules.get(schedule_id)).last_run_id
    except ScheduleNotFound:  # the worker has only just started
        return None


if __name__ == "__main__":
    asyncio.run(main())
