"""Human approval: the run waits for a signal, for three days at most, and holds no worker meanwhile."""

import asyncio
import os

from pydantic import BaseModel

from redisflow import RedisFlow, Step

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="approval")


class Expense(BaseModel):
    id: str
    amount: int


class Approval(BaseModel):
    approved: bool
    by: str


async def ask_manager(expense: Expense) -> None:
    print(f"to the manager: may {expense.id} cost {expense.amount}?")


async def pay(expense: Expense) -> str:
    return f"paid {expense.amount}"


@flow.define_workflow("expense")
async def approve_expense(expense: Expense, step: Step) -> str:
    await step.run("ask the manager", ask_manager, expense)
    # A signal that comes before this line is not lost: it waits in the run's mailbox.
    decision = await step.wait_for_signal("decision", Approval, timeout="3d")
    if decision is None:
        return "nobody answered in three days"
    if not decision.approved:
        return f"refused by {decision.by}"
    return await step.run("pay", pay, expense)


@flow.define_workflow("impatient")
async def impatient(step: Step) -> str:
    answer = await step.wait_for_signal("decision", Approval, timeout="100ms")
    return "no answer" if answer is None else f"answered by {answer.by}"


async def main() -> None:
    async with flow, flow.new_worker():
        handle = await approve_expense.run(Expense(id="trip", amount=120))
        await handle.signal("decision", Approval(approved=True, by="Ada"))
        print(await handle.result(timeout="1m"))

        handle = await approve_expense.run(Expense(id="yacht", amount=900_000))
        # Whoever answers needs the run's id alone. With an idempotency key, a double click counts once.
        await flow.signal(handle.id, "decision", {"approved": False, "by": "Grace"}, idempotency_key="click-1")
        print(await handle.result(timeout="1m"))

        print(await (await impatient.run()).result(timeout="1m"))


if __name__ == "__main__":
    asyncio.run(main())
