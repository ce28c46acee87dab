"""Small random workflows: what users write, combined as nobody would.

A program is nested tuples, `(op, *arguments)`. `Interpreter` runs one as workflow code and tells everything that this
code sees; a body does what its step's plan says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
from hypothesis import strategies as st

from redisflow.authoring.body import current_body
from redisflow.authoring.options import StepOptions
from redisflow.errors import NonRetryableError, RetryAfter, StepError
from redisflow.retry import RetryPolicy

if TYPE_CHECKING:
    from redisflow.authoring.step import Step

Op = tuple[Any, ...]

POLICY = RetryPolicy(initial_interval="40ms", maximum_attempts=3)

_names = st.sampled_from("abc")
_values = st.sampled_from([None, 0, 1.5, "text", b"bytes", (1, 2), {"a": [1]}, {3, 4}])
_plans = st.sampled_from(["ok", "ok", "ok", "ok", "once", "twice", "always", "fatal", "later"])
_steps = st.tuples(st.just("step"), _names, _plans, _values)
_leaves = st.one_of(
    _steps,
    _steps,
    _steps,
    st.tuples(st.just("sleep"), _names, st.sampled_from([0, 1, 30, 5_000])),
    st.tuples(st.just("read")),
    st.tuples(st.just("yield"), st.integers(0, 2)),
    st.tuples(st.just("map"), _names, st.integers(0, 5), st.integers(1, 3), _plans),
    st.tuples(st.just("lock"), _names, st.integers(1, 3)),
    st.tuples(st.just("semaphore"), _names, st.integers(1, 4)),
    st.tuples(st.just("queue"), _names, st.integers(0, 3)),
    st.tuples(st.just("event"), _names, _plans),
    st.tuples(st.just("say"), _names, st.integers(1, 3)),
)


def _inner(ops: st.SearchStrategy[Op]) -> st.SearchStrategy[Op]:
    some = st.lists(ops, min_size=1, max_size=4)
    return st.one_of(
        st.tuples(st.just("sequence"), some),
        st.tuples(st.just("gather"), some, st.booleans()),
        st.tuples(st.just("group"), some),
        st.tuples(st.just("anyio"), some),
        st.tuples(st.just("race"), some, st.sampled_from([asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION])),
        st.tuples(st.just("step.gather"), some),
        st.tuples(st.just("as_completed"), some, st.integers(1, 4)),
        st.tuples(st.just("shield"), ops, ops),
        st.tuples(st.just("try"), ops, ops),
        st.tuples(st.just("finally"), ops, ops),
        st.tuples(st.just("loop"), st.integers(1, 3), ops),
        st.tuples(st.just("background"), ops, ops),
    )


programs: st.SearchStrategy[Op] = st.tuples(
    st.just("sequence"), st.lists(st.recursive(_leaves, _inner, max_leaves=10), min_size=1, max_size=4)
)


def describe(value: Any) -> Any:
    """A value with its type, an exception with all that it tells."""
    if isinstance(value, StepError):
        said = (value.step, value.attempts, value.error_type, value.message, value.traceback)
        return (type(value).__name__, str(value), *said, value.__cause__)
    if isinstance(value, BaseExceptionGroup):
        return (type(value).__name__, value.message, [describe(member) for member in value.exceptions])
    return (type(value).__name__, repr(value))


def body(plan: str, value: Any) -> Any:
    """A step's body. Without an annotation, its value comes back by the codec alone."""
    context = current_body.get()
    assert context is not None
    fails = {"ok": 0, "once": 1, "twice": 2, "always": 9, "fatal": 9, "later": 1}[plan]
    if context.attempt <= fails:
        if plan == "fatal":
            raise NonRetryableError("never again")
        if plan == "later":
            raise RetryAfter("70ms")
        raise ValueError(f"attempt {context.attempt}")
    return value


class Interpreter:
    """Workflow code that does what a program says."""

    def __init__(self, saw: Callable[[Any], None], step: Step) -> None:
        self._saw = saw
        self._step = step
        self._said = 0

    async def run(self, op: Op) -> Any:
        kind, *arguments = op
        try:
            value = await _OPS[kind](self, *arguments)
        except Exception as error:
            self._saw((kind, describe(error)))
            raise
        self._saw((kind, describe(value)))
        return value

    def _call(self, name: str, plan: str, value: Any) -> Any:
        return self._step.run(StepOptions(name, retry=POLICY), body, plan, value)

    async def _one(self, name: str, plan: str, value: Any) -> Any:
        return await self._call(name, plan, value)

    async def _sleep(self, name: str, ms: int) -> None:
        await self._step.sleep(name, ms / 1000)
        self._saw(self._step.now())

    async def _read(self) -> Any:
        step = self._step
        return (step.now(), step.uuid(), step.random.random(), step.info, step.version)

    async def _yield(self, times: int) -> None:
        for _ in range(times):
            await asyncio.sleep(0)

    async def _say(self, name: str, times: int) -> None:
        step = self._step
        for _ in range(times):
            self._said += 1
            step.emit([self._said, step.now().isoformat()], kind=name)
            step.set_state(name, self._said)

    async def _map(self, name: str, count: int, limit: int, plan: str) -> Any:
        def work(item: int) -> int:
            body(plan if item == 1 else "ok", None)
            return item * item

        return await self._step.map(StepOptions(name, retry=POLICY), work, range(count), limit=limit)

    async def _lock(self, name: str, count: int) -> list[Any]:
        lock, order = asyncio.Lock(), []

        async def work(number: int) -> None:
            async with lock:
                await self._call(name, "ok", number)
                order.append(number)

        await asyncio.gather(*(work(number) for number in range(count)))
        return order

    async def _semaphore(self, name: str, count: int) -> list[Any]:
        room, order = asyncio.Semaphore(2), []

        async def work(number: int) -> None:
            async with room:
                order.append(await self._call(name, "once" if number == 1 else "ok", number))

        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(work(number))
        return order

    async def _queue(self, name: str, count: int) -> list[Any]:
        queue: asyncio.Queue[Any] = asyncio.Queue(1)
        got = []

        async def produce() -> None:
            for number in range(count):
                await queue.put(await self._call(name, "ok", number))
            await queue.put(None)

        async with asyncio.TaskGroup() as group:
            group.create_task(produce())
            while (item := await queue.get()) is not None:
                got.append((item, await self._call(name, "ok", -item)))
        return got

    async def _event(self, name: str, plan: str) -> str:
        event = asyncio.Event()

        async def wait() -> str:
            await event.wait()
            return "woken"

        async with asyncio.TaskGroup() as group:
            waiter = group.create_task(wait())
            await self._call(name, plan, None)
            event.set()
        return waiter.result()

    async def _sequence(self, ops: list[Op]) -> list[Any]:
        return [await self.run(op) for op in ops]

    async def _gather(self, ops: list[Op], return_exceptions: bool) -> Any:
        found = await asyncio.gather(*map(self.run, ops), return_exceptions=return_exceptions)
        return [describe(value) for value in found]

    async def _group(self, ops: list[Op]) -> list[Any]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.run(op)) for op in ops]
        return [task.result() for task in tasks]

    async def _anyio(self, ops: list[Op]) -> list[Any]:
        order: list[Any] = []

        async def work(op: Op) -> None:
            try:
                order.append(await self.run(op))
            except (StepError, ExceptionGroup) as error:
                # Only while nothing is cancelled are anyio's task groups promised to be the same on every pass.
                order.append(describe(error))

        async with anyio.create_task_group() as group:
            for op in ops:
                group.start_soon(work, op)
        return order

    async def _race(self, ops: list[Op], return_when: str) -> Any:
        tasks = [asyncio.create_task(self.run(op)) for op in ops]
        done, pending = await asyncio.wait(tasks, return_when=return_when)
        for task in pending:
            self._saw(("loser", tasks.index(task)))
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        return [tasks.index(task) for task in done], [describe(task.exception() or task.result()) for task in done]

    async def _step_gather(self, ops: list[Op]) -> Any:
        return await self._step.gather(*map(self.run, ops))

    async def _as_completed(self, ops: list[Op], most: int) -> Any:
        results = []
        calls = [self._attempt(op) for op in ops]
        async for task in self._step.as_completed(calls):
            results.append(task.result())
            if len(results) == most:
                break
        return results

    async def _attempt(self, op: Op) -> Any:
        try:
            return await self.run(op)
        except (StepError, ExceptionGroup) as error:
            return describe(error)

    async def _shield(self, kept: Op, other: Op) -> Any:
        inner = asyncio.create_task(self._attempt(kept))

        async def wait() -> Any:
            return await asyncio.shield(inner)

        waiter = asyncio.create_task(wait())
        await self._attempt(other)
        waiter.cancel()
        found = await asyncio.gather(waiter, return_exceptions=True)
        return describe(found[0]), await inner

    async def _try(self, op: Op, fallback: Op) -> Any:
        try:
            return await self.run(op)
        except (StepError, ExceptionGroup) as error:
            self._saw(("caught", describe(error)))
            return await self.run(fallback)

    async def _finally(self, op: Op, last: Op) -> Any:
        try:
            return await self.run(op)
        finally:
            await self.run(last)

    async def _loop(self, times: int, op: Op) -> Any:
        return [await self.run(op) for _ in range(times)]

    async def _background(self, left: Op, other: Op) -> Any:
        task = asyncio.create_task(self._attempt(left))
        result = await self.run(other)
        return result, task.done()


_OPS: dict[str, Callable[..., Any]] = {
    "step": Interpreter._one,
    "sleep": Interpreter._sleep,
    "read": Interpreter._read,
    "yield": Interpreter._yield,
    "say": Interpreter._say,
    "map": Interpreter._map,
    "lock": Interpreter._lock,
    "semaphore": Interpreter._semaphore,
    "queue": Interpreter._queue,
    "event": Interpreter._event,
    "sequence": Interpreter._sequence,
    "gather": Interpreter._gather,
    "group": Interpreter._group,
    "anyio": Interpreter._anyio,
    "race": Interpreter._race,
    "step.gather": Interpreter._step_gather,
    "as_completed": Interpreter._as_completed,
    "shield": Interpreter._shield,
    "try": Interpreter._try,
    "finally": Interpreter._finally,
    "loop": Interpreter._loop,
    "background": Interpreter._background,
}
