"""A script without an event loop: `flow.sync` starts runs and waits for them.

In production a worker is a process of its own, and the script has no `with flow.sync.worker()`.
"""

import os
from concurrent.futures import ThreadPoolExecutor

from redisflow import RedisFlow, RetryPolicy, Step, StepOptions, WorkflowFailed

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="sync-script")
ONCE = RetryPolicy(maximum_attempts=1)


def count_words(text: str) -> int:
    if not text:
        raise ValueError("there is nothing to count")
    return len(text.split())


@flow.define_workflow("count-words")
async def count(text: str, step: Step) -> int:
    # Workflow code is async; bodies of steps may be plain functions.
    return await step.run(StepOptions("count", retry=ONCE), count_words, text)


def main() -> None:
    with flow.sync.worker():
        handle = flow.sync.run_workflow(count, "the quick brown fox")
        print("words:", handle.result(timeout="1m"))
        print("status:", handle.get().status)

        # Any async function of the flow can be called; handles come back as handles that wait here.
        handles = flow.sync.call(count.run_many, ["one", "one two", "one two three"])
        print("many:", [each.result(timeout="1m") for each in handles])

        # And from any thread.
        with ThreadPoolExecutor() as threads:
            lines = ["a b", "a b c d", "a"]
            print("threads:", list(threads.map(lambda line: flow.sync.run_workflow(count, line).result("1m"), lines)))

        try:
            flow.sync.run_workflow(count, "").result(timeout="1m")
        except WorkflowFailed as error:
            print("failed:", error.failure.message.splitlines()[0])


if __name__ == "__main__":
    main()
