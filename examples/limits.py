"""Per-tenant limits: how many runs of each customer at a time, how many begin in a minute, and who goes first.

Limits are decided by Redis in the step that gives a run to a worker: they hold over any number of workers, and a worker
that dies gives back what it held.
"""

import asyncio
import os
from collections import Counter
from dataclasses import dataclass

from redisflow import Limit, Rate, RedisFlow, Step

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="limits")


@dataclass(frozen=True)
class Report:
    customer: str
    page: int = 0


class Gauge:
    """How many are at work, and the most that ever were."""

    def __init__(self) -> None:
        self.now: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.order: list[str] = []

    async def work(self, customer: str) -> None:
        self.order.append(customer)
        self.now.update([customer, "all"])
        self.most |= self.now
        await asyncio.sleep(0.005)
        self.now.subtract([customer, "all"])


gauge = Gauge()


# Two at a time for each customer, and five for all of them.
@flow.define_workflow("render", concurrency=[Limit(5), Limit(2, key=lambda report: report.customer)])
async def render(report: Report, step: Step) -> None:
    await step.run("work", gauge.work, report.customer)


# A customer with thousands of reports does not keep another one waiting: their runs take turns.
@flow.define_workflow("import", queue="imports", fair_key=lambda report: report.customer)
async def import_pages(report: Report, step: Step) -> None:
    await step.run("work", gauge.work, report.customer)


# The provider of SMS accepts three a second from each customer.
@flow.define_workflow("text", rate=Rate(3, per="1s", key=lambda report: report.customer))
async def text(report: Report, step: Step) -> None:
    """Send it."""


@flow.define_workflow("mail", queue="mail")
async def mail(kind: str, step: Step) -> None:
    await step.run("work", gauge.work, kind)


# Of all that is started on the queue `mail`, one at a time.
flow.limit_queue("mail", Limit(1))


async def main() -> None:
    async with flow:
        reports = [Report(customer, page) for page in range(4) for customer in ("ada", "bob", "cy")]
        handles = await render.run_many(reports)
        async with flow.new_worker(queues=["default"]), flow.new_worker(queues=["default"]):
            for handle in handles:
                await handle.result()
        print(f"rendered: {len(handles)} | at once: {gauge.most['ada']} of ada, {gauge.most['all']} in all")

        gauge.order.clear()
        await import_pages.run_many([Report("many", page) for page in range(100)])
        few = await import_pages.run(Report("few"))
        async with flow.new_worker(queues=["imports"], concurrency=2):
            await few.result()
            print(f"few came before most of many: {gauge.order.count('many') < 20}")

        async with flow.new_worker(queues=["default"]):
            texts = await text.run_many([Report("ada", number) for number in range(4)])
            for handle in texts:
                await handle.result()
            starts = [started for handle in texts if (started := (await handle.get()).started_at)]
            print(f"the fourth text waited: {(max(starts) - min(starts)).total_seconds() >= 1}")

        gauge.order.clear()
        mails = [*await mail.run_many(["news"] * 30), await mail.run("password", priority=9)]
        async with flow.new_worker(queues=["mail"]):
            for handle in mails:
                await handle.result()
        print(f"the password came early: {gauge.order.index('password') < 15}, {gauge.most['news']} at once")


if __name__ == "__main__":
    asyncio.run(main())
