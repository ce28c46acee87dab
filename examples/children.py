"""Child workflows: map-reduce over 1,000 items, each a run of its own, and what becomes of children that fail."""

import asyncio
import os

from pydantic import BaseModel

from redisflow import ChildFailed, ChildRun, NonRetryableError, RedisFlow, Step

# With several partitions, the children of one run are spread over all of them.
flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="children", partitions=4)


class Counts(BaseModel):
    pages: int
    words: int


async def fetch(number: int) -> str:
    if number < 0:
        raise NonRetryableError(f"there is no page {number}")
    return "word " * (number % 7)


def count_words(text: str) -> int:
    return len(text.split())


@flow.define_workflow("count-page")
async def count_page(number: int, step: Step) -> int:
    text = await step.run("fetch", fetch, number)
    return await step.run("count", count_words, text)


@flow.define_workflow("count-book")
async def count_book(pages: int, step: Step) -> Counts:
    # Each item is a child run, at most 100 at once. While they work, this run holds no worker.
    words = await step.map("page", count_page, range(pages), limit=100)
    return Counts(pages=pages, words=sum(words))


@flow.define_workflow("careful")
async def careful(step: Step) -> str:
    one, two = await step.gather(
        step.run_workflow(count_page, 3, name="page 3"), step.run_workflow(count_page, 6, name="page 6", timeout="1m")
    )
    try:
        await step.run_workflow(count_page, -1)
    except ChildFailed as error:
        return f"{one + two} words; {error.failure.message}"
    return "all pages are there"


@flow.define_workflow("and-goes-on")
async def and_goes_on(step: Step) -> ChildRun:
    return await step.start_workflow(count_page, 5)  # nobody waits for it


async def main() -> None:
    async with flow, flow.new_worker():
        counts = await (await count_book.run(1_000)).result(timeout="5m")
        print(f"{counts.words} words on {counts.pages} pages")
        print(await (await careful.run()).result(timeout="1m"))

        child = await (await and_goes_on.run()).result(timeout="1m")
        handle = await flow.get_handle(child.id, count_page)
        print("on its own:", await handle.result(timeout="1m"))


if __name__ == "__main__":
    asyncio.run(main())
