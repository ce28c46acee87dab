"""Failures: a resilient API call, a fallback that is logged, clean up and raise again, and a partial failure.

A step's error reaches the workflow as StepError once its retries are spent. What the workflow caught stays caught on
every replay. With the default policy (four attempts, 1 s, 2 s, 4 s between them) a fallback begins about 7 s after the
first failure; the policies here are shorter, so that you need not wait.
"""

import asyncio
import os
from collections import Counter

from pydantic import BaseModel

from redisflow import (
    NonRetryableError,
    RedisFlow,
    RetryAfter,
    RetryPolicy,
    Step,
    StepError,
    StepOptions,
    WorkflowFailed,
)

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="failures")

QUICK = RetryPolicy(initial_interval="50ms", maximum_attempts=3)

calls: Counter[str] = Counter()
"""How often each service was called: for the reader, not for the workflows."""


# -- a resilient API call -------------------------------------------------------------------------------------------


async def fetch_rate(currency: str, step: Step) -> float:
    """Ask a service that is overloaded at first, says when to come back, and knows no doubloons."""
    calls["rates"] += 1
    if currency == "DBL":
        msg = f"no such currency: {currency}"
        raise NonRetryableError(msg)
    if step.attempt == 1:
        raise RetryAfter("100ms", "429 Too Many Requests")
    if step.attempt == 2:
        msg = "503 Service Unavailable"
        raise ConnectionError(msg)
    return 1.25


@flow.define_workflow("convert")
async def convert(currency: str, step: Step) -> float:
    """Try up to five times, each for at most two seconds."""
    options = StepOptions("fetch-rate", retry=RetryPolicy(initial_interval="50ms", maximum_attempts=5), timeout="2s")
    return 100 * await step.run(options, fetch_rate, currency, step)


# -- log the error and fall back -------------------------------------------------------------------------------------


async def recommend(user: str) -> list[str]:
    calls["recommendations"] += 1
    msg = f"no model is loaded for {user}"
    raise RuntimeError(msg)


async def note_problem(step_name: str, problem: str) -> None:
    print(f"noted: {step_name}: {problem}")


async def bestsellers() -> list[str]:
    return ["Dune", "Emma"]


@flow.define_workflow("front-page")
async def front_page(user: str, step: Step) -> list[str]:
    """Recommendations, or the bestsellers where there are none."""
    try:
        return await step.run(StepOptions("recommend", retry=QUICK), recommend, user)
    except StepError as error:
        await step.run("note-problem", note_problem, error.step, error.message)
        return await step.run("bestsellers", bestsellers)


# -- one of two parallel steps fails: clean up, raise again ----------------------------------------------------------

disks: set[str] = set()


async def create_disk(name: str) -> str:
    disks.add(name)
    return name


async def create_address(name: str) -> str:
    msg = f"no address is left for {name}"
    raise NonRetryableError(msg)


async def delete_disk(name: str) -> None:
    disks.discard(name)


@flow.define_workflow("create-machine")
async def create_machine(name: str, step: Step) -> str:
    """Both or none."""
    disk = asyncio.ensure_future(step.run("create-disk", create_disk, name))
    address = asyncio.ensure_future(step.run("create-address", create_address, name))
    try:
        await asyncio.gather(disk, address)
    except StepError:
        # The other one may have been made before the failure, or may still be in the making.
        await asyncio.wait([disk, address])
        await step.run("delete-disk", delete_disk, name)
        raise
    return f"{await disk} at {await address}"


# -- bulk e-mail with a partial failure ------------------------------------------------------------------------------


class Report(BaseModel):
    sent: list[str]
    failed: dict[str, str]


async def send_email(address: str) -> None:
    if "@" not in address:
        msg = f"{address!r} is no address"
        raise NonRetryableError(msg)
    calls["e-mails"] += 1


@flow.define_workflow("send-newsletter")
async def send_newsletter(addresses: list[str], step: Step) -> Report:
    """One bad address stops nothing."""
    results = await asyncio.gather(
        *(step.run("send-email", send_email, address) for address in addresses), return_exceptions=True
    )
    report = Report(sent=[], failed={})
    for address, result in zip(addresses, results, strict=True):
        if isinstance(result, StepError):
            report.failed[address] = result.message
        else:
            report.sent.append(address)
    return report


async def main() -> None:
    async with flow, flow.new_worker():
        print("converted:", await (await convert.run("USD")).result(timeout="1m"), "after", calls["rates"], "calls")
        try:
            await (await convert.run("DBL")).result(timeout="1m")
        except WorkflowFailed as failed:
            print("not tried again:", failed.failure.message)
        print("front page:", await (await front_page.run("ada")).result(timeout="1m"))
        try:
            await (await create_machine.run("m1")).result(timeout="1m")
        except WorkflowFailed as failed:
            print("failed:", failed.failure.message, "| disks left:", len(disks))
        report = await (await send_newsletter.run(["a@example.com", "nobody", "b@example.com"])).result(timeout="1m")
        print(f"sent {len(report.sent)}, failed {report.failed}")


if __name__ == "__main__":
    asyncio.run(main())
