"""The reference workflows: one for each way in which the engine writes. Each with what must come of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from redisflow import ChildFailed, NonRetryableError, RedisFlow, RetryPolicy, Step, StepError, StepOptions
from redisflow.authoring.body import current_body
from redisflow.authoring.definition import WorkflowDefinition
from tests.crash.harness import Journal

SOON = RetryPolicy(initial_interval="5ms", backoff_coefficient=1, maximum_attempts=4, jitter=0)
TWICE = RetryPolicy(initial_interval="5ms", backoff_coefficient=1, maximum_attempts=2, jitter=0)

Define = Callable[[RedisFlow, Journal], tuple[WorkflowDefinition[Any, Any], ...]]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A workflow, how its run ends, and the attempts of its steps when nothing goes wrong."""

    name: str
    define: Define
    status: str = "succeeded"
    output: Any = None
    error: str = ""
    steps: dict[str, str] = field(default_factory=dict)
    """Key and status of each step."""
    attempts: dict[str, int] = field(default_factory=dict)
    """By idempotency key without the run id, where not 1."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of the run."""
    said: list[Any] = field(default_factory=list)
    """Events of the workflow's code."""
    tokens: dict[str, list[Any]] = field(default_factory=dict)
    """Events of the bodies of a step, by its key."""
    state: dict[str, Any] = field(default_factory=dict)
    own: frozenset[str] = frozenset()
    """Keys of steps whose body is redisflow's own."""
    partitions: int = 1
    """Of the namespace."""
    timed: bool = False
    """Ended from outside at a moment that a crash may shift: then not every step need have come to run."""

    def __str__(self) -> str:
        return self.name if self.partitions == 1 else f"{self.name}-{self.partitions}"


def _define(flow: RedisFlow, name: str, fn: Callable[[Step], Any], retry: RetryPolicy | None = None) -> Any:
    return (flow.define_workflow(name, retry=retry)(fn).definition,)


def _sequential(flow: RedisFlow, journal: Journal) -> Any:
    async def add(x: int, y: int) -> int:
        journal.body_starts()
        await asyncio.sleep(0)
        return x + y

    def double(x: int) -> int:
        journal.body_starts()
        return 2 * x

    async def sequential(step: Step) -> int:
        one = await step.run("one", add, 1, 2)
        two = await step.run("two", double, one)
        return await step.run("three", add, one, two)

    return _define(flow, "sequential", sequential)


def _parallel(flow: RedisFlow, journal: Journal) -> Any:
    async def square(x: int) -> int:
        journal.body_starts()
        for _ in range(x):
            await asyncio.sleep(0.001)
        return x * x

    async def parallel(step: Step) -> list[int]:
        first = await step.gather(*(step.run(f"square-{x}", square, x) for x in (3, 1, 2)))
        last = await step.run("last", square, 4)
        return [*first, last]

    return _define(flow, "parallel", parallel)


def _failing(journal: Journal, times: int, value: str = "done") -> Callable[[], Any]:
    async def work() -> str:
        if journal.body_starts() <= times:
            msg = "not yet"
            raise ValueError(msg)
        return value

    return work


def _retrying(flow: RedisFlow, journal: Journal) -> Any:
    async def retrying(step: Step) -> str:
        await step.run("before", _failing(journal, 0))
        return await step.run(StepOptions("flaky", retry=SOON), _failing(journal, 2))

    return _define(flow, "retrying", retrying)


def _caught(flow: RedisFlow, journal: Journal) -> Any:
    async def caught(step: Step) -> str:
        try:
            return await step.run(StepOptions("primary", retry=TWICE), _failing(journal, 9))
        except StepError as error:
            seen = f"{error.step} {error.attempts}"
            await step.run("note", _failing(journal, 0))
            return f"{seen} {await step.run('fallback', _failing(journal, 0, 'fallback'))}"

    return _define(flow, "caught", caught)


def _sleeping(flow: RedisFlow, journal: Journal) -> Any:
    async def sleeping(step: Step) -> str:
        await step.run("before", _failing(journal, 0))
        await step.sleep("nap", "20ms")
        return await step.run("after", _failing(journal, 0))

    return _define(flow, "sleeping", sleeping)


def _unique(flow: RedisFlow, journal: Journal) -> Any:
    """It has a unique key and a start-by time: its first claim and its end write more."""

    async def unique(step: Step) -> str:
        await step.run("before", _failing(journal, 0))
        await step.sleep("nap", "20ms")
        return await step.run("after", _failing(journal, 0))

    return _define(flow, "unique", unique)


def _beside(flow: RedisFlow, journal: Journal) -> Any:
    async def slow() -> str:
        journal.body_starts()
        await asyncio.sleep(0.02)
        return "slow"

    async def beside(step: Step) -> list[Any]:
        found = await asyncio.gather(
            step.run("slow", slow),
            step.run(StepOptions("flaky", retry=SOON), _failing(journal, 1)),
            step.sleep("nap", "10ms"),
        )
        return [*found, await step.run("last", _failing(journal, 0))]

    return _define(flow, "beside", beside)


async def _for_ever() -> None:
    await asyncio.sleep(60)  # longer than any test: it is to be cancelled


def _deadline(flow: RedisFlow, journal: Journal) -> Any:
    async def hang() -> None:
        journal.body_starts()
        await _for_ever()

    async def deadline(step: Step) -> None:
        await step.run("before", _failing(journal, 0))
        await step.run("hang", hang)

    return _define(flow, "deadline", deadline)


def _canceled(flow: RedisFlow, journal: Journal) -> Any:
    async def cancel_me() -> None:
        journal.body_starts()
        body = current_body.get()
        assert body is not None
        await flow.cancel_workflow_run(body.run_id)
        await _for_ever()

    async def canceled(step: Step) -> None:
        await step.run("before", _failing(journal, 0))
        await step.run("cancel-me", cancel_me)

    return _define(flow, "canceled", canceled)


def _loop(flow: RedisFlow, journal: Journal) -> Any:
    async def add(x: int, y: int) -> int:
        journal.body_starts()
        return x + y

    async def loop(step: Step) -> int:
        total = 0
        for number in range(30):
            total = await step.run("add", add, total, number)
        return total

    return _define(flow, "loop", loop)


def _again(flow: RedisFlow, journal: Journal) -> Any:
    async def again(step: Step) -> str:
        await step.run("kept", _failing(journal, 0))
        if step.info.attempt == 1:
            await step.run(StepOptions("spent", retry=RetryPolicy(maximum_attempts=1)), _failing(journal, 9))
        return await step.run("then", _failing(journal, 0))

    return _define(flow, "again", again, TWICE)


def _fan(flow: RedisFlow, journal: Journal) -> Any:
    async def fan(step: Step) -> int:
        calls = (step.run(StepOptions(f"part-{n}", retry=SOON), _failing(journal, n % 3)) for n in range(9))
        return len(await step.gather(*calls))

    return _define(flow, "fan", fan)


def _refused(flow: RedisFlow, journal: Journal) -> Any:
    async def refuse() -> None:
        journal.body_starts()
        msg = "no"
        raise NonRetryableError(msg)

    async def refused(step: Step) -> None:
        await step.run("refuse", refuse)

    return _define(flow, "refused", refused)


def _patched(flow: RedisFlow, journal: Journal) -> Any:
    async def patched(step: Step) -> list[Any]:
        answers = [step.patched("first")]
        await step.run("before", _failing(journal, 0))
        await step.sleep("nap", "20ms")
        answers.append(step.patched("second"))
        if answers[-1]:
            await step.run("after", _failing(journal, 0))
        return answers

    return _define(flow, "patched", patched)


def _continued(flow: RedisFlow, journal: Journal) -> Any:
    async def continued(step: Step) -> int:
        await step.run(f"round-{step.info.continued}", _failing(journal, 0))
        await step.sleep("nap", "5ms")
        if step.info.continued < 2:
            step.continue_as_new()
        return step.info.continued

    return _define(flow, "continued", continued)


def _undone(flow: RedisFlow, journal: Journal) -> Any:
    async def refuse() -> None:
        journal.body_starts()
        msg = "no"
        raise NonRetryableError(msg)

    async def undone(step: Step) -> None:
        step.on_failure("first", _failing(journal, 0))
        await step.run("before", _failing(journal, 0))
        step.on_failure(StepOptions("second", retry=SOON), _failing(journal, 1))
        step.on_failure(StepOptions("third", retry=TWICE), _failing(journal, 9))
        await step.run("refuse", refuse)

    return _define(flow, "undone", undone)


def _called_off(flow: RedisFlow, journal: Journal) -> Any:
    """Canceled, and undone: the verdict is fixed by a step's own body, and what it returns is not recorded."""

    async def cancel_me() -> None:
        journal.body_starts()
        body = current_body.get()
        assert body is not None
        await flow.cancel_workflow_run(body.run_id)
        await _for_ever()

    async def called_off(step: Step) -> None:
        step.on_failure("first", _failing(journal, 0))
        await step.run("before", _failing(journal, 0))
        step.on_failure(StepOptions("second", retry=SOON), _failing(journal, 1))
        await step.run("cancel-me", cancel_me)

    return _define(flow, "called-off", called_off)


def _signaled(flow: RedisFlow, journal: Journal) -> Any:
    async def ask() -> None:
        attempt = journal.body_starts()
        body = current_body.get()
        assert body is not None
        for number in range(3):
            await flow.signal(body.run_id, "go", number, idempotency_key=f"go-{number}")
        assert attempt == 1

    async def signaled(step: Step) -> list[Any]:
        await step.run("ask", ask)
        first = await step.wait_for_signal("go")
        await step.run("between", _failing(journal, 0))
        second, third = await asyncio.gather(step.wait_for_signal("go"), step.wait_for_signal("go", timeout="1m"))
        return [first, second, third, await step.wait_for_signal("go", timeout="20ms")]

    return _define(flow, "signaled", signaled)


def _counted(flow: RedisFlow, journal: Journal) -> Any:
    count = "return redis.call('INCRBY', KEYS[1], ARGV[1])"

    async def counted(step: Step) -> list[Any]:
        first = await step.redis("first", count, keys=["count"], args=[1])
        await step.run("between", _failing(journal, 0))
        more = await step.gather(*(step.redis("more", count, keys=["count"], args=[10]) for _ in range(3)))
        try:
            await step.redis("refused", "redis.call('INCR', KEYS[1]) error('no')", keys=["count"])
        except StepError:
            await step.sleep("nap", "10ms")
        return [first, *more, await step.redis("last", "return tonumber(redis.call('GET', KEYS[1]))", keys=["count"])]

    return _define(flow, "counted", counted)


def _large(flow: RedisFlow, journal: Journal) -> Any:
    async def large(step: Step) -> str:
        first: str = await step.run("first", _failing(journal, 0, NOISE[:5_000]))
        await step.run(StepOptions("flaky", retry=SOON), _failing(journal, 1))
        await step.sleep("nap", "10ms")
        return f"{first}{await step.run('last', _failing(journal, 0, NOISE[5_000:]))}"

    return _define(flow, "large", large)


# Values that do not get smaller, so that they go to a store.
NOISE = random.Random(1).randbytes(10_000).hex()
LARGE = Reference(
    name="large",
    define=_large,
    output=NOISE,
    steps=dict.fromkeys(["first", "flaky", "nap", "last"], "succeeded"),
    attempts={"flaky": 2, "nap": 0},
)


def _telling(flow: RedisFlow, journal: Journal) -> Any:
    async def stream(step: Step) -> None:
        journal.body_starts()
        for number in range(3):
            step.emit(number)
            step.set_state("tokens", number)
            await asyncio.sleep(0)

    def in_thread(step: Step) -> None:
        journal.body_starts()
        step.emit("from a thread")

    async def telling(step: Step) -> None:
        step.emit("begin")
        step.set_state("phase", "begin")
        await step.run("stream", stream, step)
        step.emit("streamed")
        step.log.info("nap")
        await step.sleep("nap", "20ms")
        step.set_state("phase", "awake")
        await asyncio.gather(step.run("beside", stream, step), step.run("thread", in_thread, step))
        for number in range(120):  # more than one commit takes
            step.emit(number)
        step.set_state("phase", "end")

    return _define(flow, "telling", telling)


def _family(flow: RedisFlow, journal: Journal) -> Any:
    """Children beside their parent and, where there are several partitions, elsewhere."""
    part = _part(flow, journal)

    @flow.define_workflow("family")
    async def family(step: Step) -> list[Any]:
        first = await step.run_workflow(part, 0)
        both = await asyncio.gather(*(step.run_workflow(part, n, name=f"kid-{n}", spread=True) for n in (1, 2)))
        await step.run("between", _failing(journal, 0))
        try:
            await step.run_workflow(part, -1, name="fails", spread=True)
        except ChildFailed as error:
            return [first, *both, error.failure.message]
        raise AssertionError

    return part.definition, family.definition


def _part(flow: RedisFlow, journal: Journal) -> Any:
    @flow.define_workflow("part")
    async def part(number: int, step: Step) -> int:
        if number < 0:
            msg = "there is none"
            raise NonRetryableError(msg)
        await step.run(f"make-{number}", _failing(journal, 0))
        return number

    return part


def _abandoned(flow: RedisFlow, journal: Journal) -> Any:
    """A child cancels its parent, which takes the others with it."""

    async def cancel_parent(parent: str) -> None:
        journal.body_starts()
        await flow.cancel_workflow_run(parent)
        await _for_ever()

    @flow.define_workflow("child")
    async def child(cancels: bool, step: Step) -> None:
        if cancels and step.info.parent is not None:
            await step.run("cancel-parent", cancel_parent, step.info.parent)
        await step.wait_for_signal("never")

    @flow.define_workflow("abandoned")
    async def abandoned(step: Step) -> None:
        calls = (step.run_workflow(child, n == 2, name=f"kid-{n}", spread=True) for n in range(3))
        await asyncio.gather(*calls)

    return child.definition, abandoned.definition


def _announced(flow: RedisFlow, journal: Journal) -> Any:
    async def announced(step: Step) -> list[Any]:
        async def announce() -> int:
            await step.run("before", _failing(journal, 0))
            reached = await step.send_signal("news", 7, retain="1m")
            return reached.count

        news, count = await asyncio.gather(step.wait_for_signal("news"), announce())
        again = await step.wait_for_signal("news", timeout="20ms")
        await step.send_signal("later", 8, retain="1m")
        return [news, count, again, await step.wait_for_signal("later")]

    return _define(flow, "announced", announced)


FAMILY = Reference(
    name="family",
    define=_family,
    output=[0, 1, 2, "there is none"],
    steps={**dict.fromkeys(["part", "kid-1", "kid-2", "between"], "succeeded"), "fails": "failed"},
    own=frozenset({"part", "kid-1", "kid-2", "fails"}),
)
ABANDONED = Reference(name="abandoned", define=_abandoned, status="canceled", timed=True)
ANNOUNCED = Reference(
    name="announced",
    define=_announced,
    output=[7, 1, None, 8],
    steps=dict.fromkeys(["news", "before", "broadcast news", "news#1", "broadcast later", "later"], "succeeded"),
    attempts=dict.fromkeys(["news", "news#1", "later"], 0),
    own=frozenset({"broadcast news", "broadcast later"}),
)
ACROSS = tuple(replace(reference, partitions=2) for reference in (FAMILY, ABANDONED, ANNOUNCED))
"""The same with what is then not done in one step."""

REFERENCES = (
    FAMILY,
    ABANDONED,
    ANNOUNCED,
    *ACROSS,
    Reference(
        name="sequential", define=_sequential, output=9, steps=dict.fromkeys(["one", "two", "three"], "succeeded")
    ),
    Reference(
        name="parallel",
        define=_parallel,
        output=[9, 1, 4, 16],
        steps=dict.fromkeys(["square-3", "square-1", "square-2", "last"], "succeeded"),
    ),
    Reference(
        name="retrying",
        define=_retrying,
        output="done",
        steps={"before": "succeeded", "flaky": "succeeded"},
        attempts={"flaky": 3},
    ),
    Reference(
        name="caught",
        define=_caught,
        output="primary 2 fallback",
        steps={"primary": "failed", "note": "succeeded", "fallback": "succeeded"},
        attempts={"primary": 2},
    ),
    Reference(
        name="sleeping",
        define=_sleeping,
        output="done",
        steps={"before": "succeeded", "nap": "succeeded", "after": "succeeded"},
        attempts={"nap": 0},
    ),
    Reference(
        name="beside",
        define=_beside,
        output=["slow", "done", None, "done"],
        steps={"slow": "succeeded", "flaky": "succeeded", "nap": "succeeded", "last": "succeeded"},
        attempts={"flaky": 2, "nap": 0},
    ),
    Reference(
        name="deadline",
        define=_deadline,
        status="failed",
        error="DeadlineExceeded",
        options={"deadline_at": "120ms"},
        timed=True,
    ),
    Reference(name="canceled", define=_canceled, status="canceled", timed=True),
    Reference(
        name="unique",
        define=_unique,
        output="done",
        steps={"before": "succeeded", "nap": "succeeded", "after": "succeeded"},
        attempts={"nap": 0},
        options={"unique_key": "one", "on_conflict": "reject", "expires_at": "10m", "deadline_at": "1h"},
    ),
    Reference(
        name="loop",
        define=_loop,
        output=sum(range(30)),
        steps=dict.fromkeys(["add", *(f"add#{n}" for n in range(1, 30))], "succeeded"),
    ),
    Reference(
        name="again",
        define=_again,
        output="done",
        steps={"kept": "succeeded", "then": "succeeded"},
        attempts={"spent": 1},
    ),
    Reference(
        name="fan",
        define=_fan,
        output=9,
        steps={f"part-{n}": "succeeded" for n in range(9)},
        attempts={f"part-{n}": 1 + n % 3 for n in range(9)},
    ),
    Reference(
        name="continued",
        define=_continued,
        output=2,
        steps={"round-2": "succeeded", "nap": "succeeded"},
        attempts={"nap": 0},
    ),
    Reference(
        name="patched",
        define=_patched,
        output=[True, True],
        steps=dict.fromkeys(["before", "nap", "after"], "succeeded"),
        attempts={"nap": 0},
    ),
    Reference(
        name="undone",
        define=_undone,
        status="failed",
        error="StepError",
        steps=dict.fromkeys(["first", "before", "second"], "succeeded") | dict.fromkeys(["third", "refuse"], "failed"),
        attempts={"second": 2, "third": 2},
    ),
    Reference(
        name="called-off",
        define=_called_off,
        status="canceled",
        steps={"first": "succeeded", "before": "succeeded", "second": "succeeded"},
        attempts={"second": 2},
    ),
    Reference(
        name="signaled",
        define=_signaled,
        output=[0, 1, 2, None],
        steps=dict.fromkeys(["ask", "go", "between", "go#1", "go#2", "go#3"], "succeeded"),
        attempts=dict.fromkeys(["go", "go#1", "go#2", "go#3"], 0),
    ),
    Reference(
        name="telling",
        define=_telling,
        steps=dict.fromkeys(["stream", "nap", "beside", "thread"], "succeeded"),
        attempts={"nap": 0},
        said=["begin", "streamed", {"level": "INFO", "message": "nap"}, *range(120)],
        tokens={"stream": [0, 1, 2], "beside": [0, 1, 2], "thread": ["from a thread"]},
        state={"phase": "end", "tokens": 2},
    ),
    Reference(
        name="counted",
        define=_counted,
        output=[1, 11, 21, 31, 32],
        steps={
            **dict.fromkeys(["first", "between", "more", "more#1", "more#2", "nap", "last"], "succeeded"),
            "refused": "failed",
        },
        attempts=dict.fromkeys(["first", "more", "more#1", "more#2", "refused", "nap", "last"], 0),
    ),
    Reference(name="refused", define=_refused, status="failed", error="StepError", steps={"refuse": "failed"}),
)
