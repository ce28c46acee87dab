"""Rules for starts: one run at a time, one run for many starts, so many starts in a window, and start-by times."""

import asyncio
import os
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from redisflow import (
    Debounce,
    RedisFlow,
    RunAlreadyActive,
    StartRules,
    StartThrottled,
    Step,
    Throttle,
    WorkflowCanceled,
    WorkflowExpired,
)

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="starts")


@dataclass
class Edit:
    document: str
    text: str


async def note(text: str) -> str:
    return f"done: {text}"


# The rules may be declared with the workflow; a key is then a function of the input.
@flow.define_workflow("sync-account", start=StartRules(unique_key=lambda account: account))
async def sync_account(account: str, step: Step) -> str:
    return await step.run("sync", note, account)


@flow.define_workflow(
    "index-document", start=StartRules(debounce=Debounce("1s", key=lambda edit: edit.document, at_most="1m"))
)
async def index_document(edit: Edit, step: Step) -> str:
    return await step.run("index", note, edit.text)


@flow.define_workflow("send-mail")
async def send_mail(text: str, step: Step) -> str:
    return await step.run("send", note, text)


async def one_at_a_time() -> None:
    account = f"account-{uuid.uuid4()}"
    first = await sync_account.run(account)
    again = await sync_account.run(account)
    print("one run:", again.id == first.id, "| it was there:", again.workflow_run.existing)
    try:
        await sync_account.run(account, on_conflict="reject")
    except RunAlreadyActive as active:
        print("rejected, because of the same run:", active.run_id == first.id)
    newer = await sync_account.run(account, on_conflict="cancel_older")
    try:
        await first.result(timeout="1m")
    except WorkflowCanceled as canceled:
        print("the older one:", canceled.cause, "| the newer one:", (await newer.get()).status)


async def so_many_in_a_window() -> None:
    per_user = Throttle(2, per="1h", key=f"user-{uuid.uuid4()}")
    handles = [await send_mail.run(f"mail {number}", throttle=per_user) for number in range(3)]
    print("delayed:", [handle.workflow_run.available_at is not None for handle in handles])
    try:
        await send_mail.run("mail 3", throttle=Throttle(2, per="1h", key=per_user.key, on_excess="reject"))
    except StartThrottled as throttled:
        print("rejected for another 59 minutes:", throttled.free_at - datetime.now(UTC) > timedelta(minutes=59))


async def main() -> None:
    async with flow:
        await one_at_a_time()
        await so_many_in_a_window()
        async with flow.new_worker():
            # Edits in a row: one run, begun a second after the last of them, with that one's input.
            document = f"document-{uuid.uuid4()}"
            edits = [await index_document.run(Edit(document, text)) for text in ("d", "dra", "draft")]
            print("runs for three edits:", len({edit.id for edit in edits}), "|", await edits[0].result(timeout="1m"))

            # An offer that nobody has taken up in time is no use any more. (No worker serves this queue.)
            offer = await send_mail.run("today only", queue="busy", expires_at="100ms")
            try:
                await offer.result(timeout="1m")
            except WorkflowExpired as expired:
                print("expired:", expired.run_id == offer.id)


if __name__ == "__main__":
    asyncio.run(main())
