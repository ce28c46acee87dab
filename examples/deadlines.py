"""Deadlines, delayed starts, idempotency keys and cancelling."""

import asyncio
import os
import uuid
from datetime import UTC, datetime, timedelta

from redisflow import DeadlineExceeded, IdempotencyConflict, RedisFlow, Step, WorkflowCanceled

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="deadlines")


async def render(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return f"rendered for {seconds} s"


@flow.define_workflow("render-film")
async def render_film(seconds: float, step: Step) -> str:
    return await step.run("render", render, seconds)


@flow.define_workflow("remind")
async def remind(text: str, step: Step) -> str:
    await step.sleep("a-week", "7d")
    return text


async def main() -> None:
    async with flow, flow.new_worker():
        # It must finish in an hour: a duration from now, or an aware datetime.
        done = await render_film.run(0.1, deadline_at=datetime.now(UTC) + timedelta(hours=1))
        print("in time:", await done.result(timeout="1m"))
        late = await render_film.run(60, deadline_at="300ms")
        try:
            await late.result(timeout="1m")
        except DeadlineExceeded as exceeded:
            print("too late:", exceeded.failure.message)

        # Not before tomorrow, and not before half a second has passed.
        tomorrow = await render_film.run(0.0, available_at="24h")
        run = await tomorrow.get()
        print("delayed:", run.status, run.waiting_for)
        await tomorrow.cancel()
        soon = await render_film.run(0.0, available_at="500ms")
        print("started later:", await soon.result(timeout="1m"))

        # The same key gives the same run; with another input it is refused.
        key = f"film-{uuid.uuid4()}"
        first = await render_film.run(0.0, idempotency_key=key)
        again = await render_film.run(0.0, idempotency_key=key)
        print("one run:", first.id == again.id)
        try:
            await render_film.run(1.0, idempotency_key=key)
        except IdempotencyConflict as conflict:
            print("another input:", type(conflict).__name__)

        # Cancelling says who won.
        reminder = await remind.run("water the plants")
        print("canceled:", await reminder.cancel(), "| again:", await reminder.cancel())
        print("too late to cancel:", await done.cancel())
        try:
            await reminder.result(timeout="1m")
        except WorkflowCanceled as canceled:
            print("the waiting caller learns it:", type(canceled).__name__)


if __name__ == "__main__":
    asyncio.run(main())
