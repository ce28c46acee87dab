"""An agent that streams its tokens and waits for a person: whoever follows the run sees all of it, in order.

The workflow's own events are stored once, however often a worker dies. Those of a step's body leave while it runs.
"""

import asyncio
import os
from collections.abc import AsyncIterator

from pydantic import BaseModel

from redisflow import RedisFlow, Step

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="agent")


class Review(BaseModel):
    fine: bool
    comment: str = ""


async def model(prompt: str) -> AsyncIterator[str]:
    """Stands for a language model."""
    for word in f"Here is a poem about {prompt} .".split():
        await asyncio.sleep(0.01)
        yield word


async def write(prompt: str, step: Step) -> str:
    words: list[str] = []
    async for word in model(prompt):
        step.emit(word, kind="token")
        words.append(word)
    return " ".join(words)


@flow.define_workflow("agent")
async def agent(prompt: str, step: Step) -> str:
    while True:
        step.set_state("phase", f"writes about {prompt}")
        draft = await step.run("write", write, prompt, step)
        step.set_state("phase", "waits for review")
        step.emit({"draft": draft}, kind="draft")
        # The run holds no worker while the person thinks.
        review = await step.wait_for_signal("review", Review, timeout="7d")
        if review is None or review.fine:
            return draft
        prompt = review.comment


async def main() -> None:
    async with flow, flow.new_worker():
        handle = await agent.run("the sea")
        last = None
        async for event in handle.events():
            if event.kind == "token":
                print(event.data, end=" ")
            if event.kind == "draft":
                last = event.id
                break
        print(f"| {(await handle.state())['phase']}")

        # Another page, or the same after a reload: it goes on behind the last event that it has seen.
        await handle.signal("review", Review(fine=False, comment="the moon"))
        async for event in handle.events(after=last):
            if event.kind == "draft":
                print("second draft:", event.data["draft"])
                await handle.signal("review", Review(fine=True))
        print("published:", await handle.result(timeout="1m"))
        print("events in all:", len([event async for event in handle.events(live=False)]))


if __name__ == "__main__":
    asyncio.run(main())
