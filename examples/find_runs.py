"""Finding runs: tags, lists with filters, pages with cursors, counts, retention and delete."""

import asyncio
import os

from redisflow import RedisFlow, Retention, RunNotFinished, RunNotFound, Step, WorkflowFailed

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace=f"find-runs-{os.getpid()}")


async def charge(amount: int) -> str:
    if amount > 1000:
        raise ValueError("over the limit")
    return f"charged {amount}"


# Succeeded runs are kept for an hour, failed ones for thirty days, canceled ones as by default (a day).
@flow.define_workflow("bill", retention=Retention(succeeded="1h", failed="30d"))
async def bill(amount: int, step: Step) -> str:
    return f"{step.info.tags['customer']}: {await step.run('charge', charge, amount)}"


@flow.define_workflow("remind")
async def remind(text: str, step: Step) -> str:
    await step.sleep("a-week", "7d")
    return text


async def main() -> None:
    async with flow, flow.new_worker():
        handles = [await bill.run(100 * n, tags={"customer": f"c{n % 2}", "region": "eu"}) for n in range(1, 6)]
        print("result:", await handles[0].result(timeout="1m"))
        for handle in handles[1:]:
            await handle.result(timeout="1m")
        reminder = await remind.run("water the plants", tags={"customer": "c1"})

        # All that is said must hold; what comes is light: no inputs, no results.
        found = [run async for run in flow.list_runs(tags={"customer": "c1"}, created_after="1h")]
        print("of c1:", sorted(f"{run.workflow} {run.status}" for run in found))
        waiting = [run async for run in flow.list_runs(status="waiting:timer", workflow="remind")]
        print("asleep:", len(waiting))

        # The same in pages, for a web page: the cursor may stand in its URL.
        page = await flow.list_page(workflow="bill", page_size=3)
        rest = await flow.list_page(workflow="bill", page_size=3, cursor=page.cursor)
        print("pages:", len(page.runs), len(rest.runs), rest.cursor)

        counts = await flow.count_runs()
        print("counts:", counts.workflows["bill"].succeeded, "succeeded,", counts.waiting, "waiting")

        # Gone now, and not when its time is over.
        await handles[0].delete()
        try:
            await handles[0].get()
        except RunNotFound:
            print("deleted:", [run.id async for run in flow.list_runs(workflow="bill")].count(handles[0].id))
        try:
            await reminder.delete()
        except RunNotFinished as refused:
            print("not deleted:", refused.status)
        await reminder.cancel()
        await reminder.delete()

        failing = await bill.run(5000, tags={"customer": "c9"}, deadline_at="300ms")
        try:
            await failing.result(timeout="1m")
        except WorkflowFailed:
            last = [run async for run in flow.list_runs(status="failed", finished_after="1h")]
            print("failed:", last[0].tags["customer"], last[0].cause)


if __name__ == "__main__":
    asyncio.run(main())
