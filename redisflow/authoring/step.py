"""`Step`: what workflow code holds. Every durable thing that it does goes through here.

Names are memo keys: a result is found again by the name of its step, in the order of the calls where a name repeats.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from datetime import datetime
from functools import partial
from typing import Any, NoReturn, ParamSpec, TypeVar, Unpack, cast, overload

from redisflow.authoring.body import BodyContext, current_body
from redisflow.authoring.children import ChildOptions, Specified, terms_of
from redisflow.authoring.definition import WorkflowSpec
from redisflow.authoring.inputs import encode_signal_data
from redisflow.authoring.options import StepOptions
from redisflow.authoring.outputs import emit, set_state
from redisflow.authoring.outside import Broadcast, ChildRun, broadcast_signal, send_signal
from redisflow.authoring.redis_script import Word, script_words
from redisflow.authoring.several import gather_calls, map_calls
from redisflow.authoring.step_call import SeveralCalls, StepCall
from redisflow.authoring.step_port import RunInfo, StepPort
from redisflow.durations import Duration, Instant, from_ms, to_ms, to_when
from redisflow.errors import NotAllowedInWorkflow, StepError
from redisflow.names import check_step_name, check_text
from redisflow.run_id import check_run_id

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
In = TypeVar("In")
Out = TypeVar("Out")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")
T6 = TypeVar("T6")


class Step:
    """The step API of one run. Workflow code gets it as its last argument."""

    __slots__ = ("_port",)

    def __init__(self, port: StepPort) -> None:
        """Made by the engine."""
        self._port = port

    # -- steps ----------------------------------------------------------------------------------------------------

    @overload
    def run(
        self,
        name: str | StepOptions,
        fn: Callable[P, Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> StepCall[R]: ...

    @overload
    def run(
        self,
        name: str | StepOptions,
        fn: Callable[P, R],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> StepCall[R]: ...

    def run(self, name: str | StepOptions, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> StepCall[Any]:
        """Run `fn` at least once, and never again once its result is recorded; the value is what the record holds.

        `fn` may be async, or sync (then it runs in a thread). It is retried under its policy before its error gets
        here as StepError. Its arguments are handed over as copies. A value that could not be read back fails the step
        with an error that says what to write.
        """
        return self._port.ask_step(name, fn, args, kwargs)

    def on_failure(
        self, name: str | StepOptions, fn: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Say how to undo something: a step that runs only if the run fails, is canceled, or misses its deadline.

        Compensations run one after the other, the last one first, each retried and recorded like any step; one that
        fails for good is noted, and the next goes on. They run once no workflow attempt is left. Arguments are taken
        as they are now. Call it before the step that it undoes where that step may have had its effect without anybody
        knowing its result; the function must then bear that there is nothing to undo.
        """
        self._port.ask_compensation(name, fn, args, kwargs)

    async def compensate(self) -> list[StepError]:
        """Run the compensations now, the last one first, and return the errors of those that failed for good.

        None of them runs again.
        """
        failed: list[StepError] = []
        while (call := self._port.next_compensation()) is not None:
            try:
                await call
            except StepError as error:
                failed.append(error)
        return failed

    def sleep(self, name: str, duration: Duration) -> StepCall[None]:
        """Wait durably, for milliseconds or months. A sleeping run holds no worker."""
        return self._port.ask_sleep(check_step_name(name), to_ms(duration), relative=True)

    def sleep_until(self, name: str, instant: Instant) -> StepCall[None]:
        """Wait durably until an aware datetime (or for a duration)."""
        when = to_when(instant, what="sleep_until")
        return self._port.ask_sleep(check_step_name(name), when.ms, relative=when.relative)

    @overload
    def wait_for_signal(self, name: str, type_: type[T], /) -> StepCall[T]: ...
    @overload
    def wait_for_signal(self, name: str, type_: type[T], /, *, timeout: Duration) -> StepCall[T | None]: ...
    @overload
    def wait_for_signal(self, name: str, /, *, timeout: Duration | None = None) -> StepCall[Any]: ...

    def wait_for_signal(self, name: str, type_: Any = None, /, *, timeout: Duration | None = None) -> StepCall[Any]:
        """Take the next signal of this name, and give what it said; None when `timeout` is over.

        Signals wait for the run in the order in which they came, also those that were sent before this is called; each
        is taken once. A waiting run holds no worker. Without a type the data is plain: dicts, lists, numbers, text.
        Data that does not fit the type raises StepError here, and that signal is spent.
        """
        limit_ms = None if timeout is None else to_ms(timeout, what="timeout")
        return self._port.ask_signal(check_text("signal", name), type_, limit_ms)

    def signal(self, run_id: str, name: str, data: Any = None) -> StepCall[bool]:
        """Send another run a signal, once: as a step. False where that run has ended, or is not stored."""
        check_text("signal", name)
        payload = encode_signal_data(name, data)
        return self._port.ask_step(f"signal {name}", send_signal, (check_run_id(run_id), name, payload), {})

    def send_signal(self, name: str, data: Any = None, *, retain: Duration | None = None) -> StepCall[Broadcast]:
        """Broadcast a signal, once, to every run that waits for its name: as a step. Gives the runs that it reached.

        With `retain`, runs that start to wait for it within that time get it as well. See `RedisFlow.send_signal`.
        """
        check_text("signal", name)
        payload = encode_signal_data(name, data)
        retain_ms = None if retain is None else to_ms(retain, what="retain")
        return self._port.ask_step(f"broadcast {name}", broadcast_signal, (name, payload, retain_ms), {})

    def redis(self, name: str, script: str, /, *, keys: Iterable[str] = (), args: Iterable[Word] = ()) -> StepCall[Any]:
        """Run a short Lua script in the run's own partition, exactly once, and give its reply.

        It runs inside the transition that records it: both happen, or neither, whatever crashes. `KEYS` are the keys
        of these names (`flow.redis_key` says how others find them), `ARGV` the arguments. The reply is None, an int,
        bytes, or a list of these, up to 64 KiB. A script that raises fails the step with StepError and is not tried
        again; what it wrote before stays, so validate first and write last. It blocks the server while it runs.
        """
        return self._port.ask_redis(check_step_name(name), script_words(name, script, keys, args))

    # -- child workflows ------------------------------------------------------------------------------------------

    @overload
    def run_workflow(
        self, child: WorkflowSpec[None, T] | Specified[None, T], /, **terms: Unpack[ChildOptions]
    ) -> StepCall[T]: ...
    @overload
    def run_workflow(
        self, child: WorkflowSpec[In, T] | Specified[In, T], value: In, /, **terms: Unpack[ChildOptions]
    ) -> StepCall[T]: ...

    def run_workflow(
        self,
        child: WorkflowSpec[Any, Any] | Specified[Any, Any],
        value: Any = None,
        /,
        **terms: Unpack[ChildOptions],
    ) -> StepCall[Any]:
        """Run another workflow as a child and wait for its output, which has its type. The parent holds no worker.

        Raises ChildFailed, ChildTimedOut or ChildCanceled (all of them StepErrors), and InvalidInput at the call.
        A child that is not waited for any more is canceled, unless `on_parent_end="leave"`.
        """
        return self._port.ask_child(terms_of(child, terms), value)

    def start_workflow(
        self,
        child: WorkflowSpec[Any, Any] | Specified[Any, Any],
        value: Any = None,
        /,
        **terms: Unpack[ChildOptions],
    ) -> StepCall[ChildRun]:
        """Start another workflow and do not wait for it: it lives on its own. Gives its id."""
        return self._port.ask_detached(terms_of(child, terms), value)

    # -- several at once ------------------------------------------------------------------------------------------

    @overload
    def gather(self, c1: Awaitable[T1], /) -> Awaitable[tuple[T1]]: ...
    @overload
    def gather(self, c1: Awaitable[T1], c2: Awaitable[T2], /) -> Awaitable[tuple[T1, T2]]: ...
    @overload
    def gather(self, c1: Awaitable[T1], c2: Awaitable[T2], c3: Awaitable[T3], /) -> Awaitable[tuple[T1, T2, T3]]: ...
    @overload
    def gather(
        self, c1: Awaitable[T1], c2: Awaitable[T2], c3: Awaitable[T3], c4: Awaitable[T4], /
    ) -> Awaitable[tuple[T1, T2, T3, T4]]: ...
    @overload
    def gather(
        self, c1: Awaitable[T1], c2: Awaitable[T2], c3: Awaitable[T3], c4: Awaitable[T4], c5: Awaitable[T5], /
    ) -> Awaitable[tuple[T1, T2, T3, T4, T5]]: ...
    @overload
    def gather(
        self,
        c1: Awaitable[T1],
        c2: Awaitable[T2],
        c3: Awaitable[T3],
        c4: Awaitable[T4],
        c5: Awaitable[T5],
        c6: Awaitable[T6],
        /,
    ) -> Awaitable[tuple[T1, T2, T3, T4, T5, T6]]: ...
    @overload
    def gather(self, *calls: Awaitable[T]) -> Awaitable[tuple[T, ...]]: ...

    def gather(self, *calls: Awaitable[Any]) -> Awaitable[tuple[Any, ...]]:
        """Wait for all; the first failure is raised at once and the others are given up (unlike asyncio.gather)."""
        return SeveralCalls(list(calls), gather_calls)

    @overload
    def map(
        self,
        name: str | StepOptions,
        fn: Callable[[T], Coroutine[Any, Any, R]],
        items: Iterable[T],
        *,
        limit: int = 10,
    ) -> Coroutine[Any, Any, list[R]]: ...

    @overload
    def map(
        self, name: str, fn: Specified[T, R], items: Iterable[T], *, limit: int = 10
    ) -> Coroutine[Any, Any, list[R]]: ...

    @overload
    def map(
        self, name: str | StepOptions, fn: Callable[[T], R], items: Iterable[T], *, limit: int = 10
    ) -> Coroutine[Any, Any, list[R]]: ...

    def map(
        self,
        name: str | StepOptions,
        fn: Callable[[Any], Any] | Specified[Any, Any],
        items: Iterable[Any],
        *,
        limit: int = 10,
    ) -> Coroutine[Any, Any, list[Any]]:
        """Run a step for each item, at most `limit` at once; results in the order of the items.

        With a workflow instead of a function, each item is a child run, in any partition of the namespace. The first
        failure is raised, and what has not begun does not begin.
        """
        if limit < 1:
            msg = f"limit is a whole number from 1, not {limit!r}"
            raise ValueError(msg)
        return SeveralCalls([self._call_for(name, fn, item) for item in items], partial(map_calls, limit=limit))

    def _call_for(
        self, name: str | StepOptions, fn: Callable[[Any], Any] | Specified[Any, Any], item: Any
    ) -> StepCall[Any]:
        if isinstance(getattr(fn, "spec", None), WorkflowSpec):
            key = name.name if isinstance(name, StepOptions) else name
            return self.run_workflow(cast("Specified[Any, Any]", fn), item, name=key, spread=True)
        return self.run(name, cast("Callable[[Any], Any]", fn), item)

    async def as_completed(self, calls: Iterable[Awaitable[T]]) -> AsyncIterator[asyncio.Task[T]]:
        """Finished tasks in the order in which they end, the same on every pass; ask each for its `result()`.

        Whoever leaves early and wants the rest given up iterates inside `contextlib.aclosing`; else they go on.
        """
        finished: asyncio.Queue[asyncio.Task[T]] = asyncio.Queue()
        tasks = [asyncio.ensure_future(call) for call in calls]
        for task in tasks:
            task.add_done_callback(finished.put_nowait)
        try:
            for _ in tasks:
                yield await finished.get()
        finally:
            for task in tasks:
                task.cancel()

    # -- values that are the same on every pass -------------------------------------------------------------------

    @property
    def info(self) -> RunInfo:
        """This run: id, workflow, version, attempt, created_at, deadline_at."""
        return self._port.info

    @property
    def version(self) -> str | None:
        """The version with which the run was started, for conditions in workflow code."""
        return self._port.info.version

    def patched(self, name: str) -> bool:
        """Whether this run goes the way that is new with the patch of this name; the same on every pass.

        True in a run that comes to this call for the first time with code that has it, False in one that was here
        before. The answer holds for the whole run. Keep the call, whose value may be ignored, until no run is left that
        has come by it.
        """
        return self._port.is_patched(check_step_name(name))

    def continue_as_new(self, value: Any = None) -> NoReturn:
        """Let this run begin anew, with this input and an empty history. Never returns.

        It stays the same run: its id, whoever waits for its result, signals that it has not taken, its unique key,
        limits, tags and deadline. Steps get new idempotency keys; what still runs is cancelled, as are children that it
        waits for; compensations are dropped, as at a success. InvalidInput where the value does not fit.
        """
        self._port.continue_as_new(value)

    def now(self) -> datetime:
        """The server's time of the last thing that the run learnt: never decreasing, the same on every pass."""
        return from_ms(self._port.now_ms())

    def uuid(self) -> uuid.UUID:
        """A random UUID from the run's own source."""
        return uuid.UUID(int=self._port.random.getrandbits(128), version=4)

    @property
    def random(self) -> random.Random:
        """A source of random numbers, seeded by the run's id."""
        return self._port.random

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger that says each thing once: it is silent while the run is replayed.

        From INFO on, what it says is an event of kind `log` as well: a level and a message, as `emit` would store it.
        """
        return self._port.log

    # -- what can be seen from outside, while the run goes on -----------------------------------------------------

    def emit(self, data: Any = None, *, kind: str = "data") -> None:
        """Say something to whoever follows the run with `handle.events()`: progress, tokens, what was decided.

        In workflow code, each event is stored once, whatever the number of crashes and replays, with the next thing
        that is recorded. In a step's body it leaves at once, and before the step's result is recorded; an attempt that
        is made again says it again, and the event tells which attempt it was. About the last 10,000 events of a run are
        kept.

        Raises CannotRecord, PayloadTooLarge (64 KiB), and InvalidName, also for the kind `audit`: what people did to a
        run is said by `flow.note` alone.
        """
        emit(current_body.get() or self._port.outputs, kind, data)

    def set_state(self, key: str, value: Any) -> None:
        """Set a value that `handle.state()` shows, now and after the run has ended; the last one counts.

        As with `emit`, workflow code sets it once, and a body with every attempt.

        Raises CannotRecord, PayloadTooLarge (64 KiB) and StateFull (100 keys).
        """
        set_state(current_body.get() or self._port.outputs, key, value)

    # -- inside a step's body -------------------------------------------------------------------------------------

    @property
    def idempotency_key(self) -> str:
        """Inside a body: the same on every attempt of this step. Give it to the outside world."""
        return _body("step.idempotency_key").idempotency_key

    @property
    def attempt(self) -> int:
        """Inside a body: which attempt this is, from 1."""
        return _body("step.attempt").attempt

    def heartbeat(self, details: Any = None) -> None:
        """Inside a long body: show how far it is. Seen in `get_run` within two seconds; nothing is recorded."""
        _body("step.heartbeat").heartbeat(details)

    @property
    def resources(self) -> Any:
        """What the worker's `resources` yielded (connection pools, clients); inside bodies only."""
        return _body("step.resources").resources


def _body(what: str) -> BodyContext:
    body = current_body.get()
    if body is None:
        msg = f"{what} is for the body of a step: use it inside the function that step.run is given"
        raise NotAllowedInWorkflow(msg)
    return body
