"""Plays one run in this process, with the engine that workers use, and a clock that skips whatever is waited for.

The hard thing is to stay what production is: workflow code runs on its own loop, in callbacks of the caller's loop,
bodies run as tasks and threads there, records are encoded and decoded, and a crash is what a crash is: memory is gone,
and what was not committed never was.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, assert_never

from redisflow import codec
from redisflow.authoring.body import BodyContext, current_body
from redisflow.authoring.definition import WorkflowDefinition
from redisflow.authoring.outside import Broadcast, ChildOrder
from redisflow.durations import describe_ms
from redisflow.engine.commands import (
    BodyOutcome,
    CancelBody,
    Command,
    Commit,
    GoOn,
    Raised,
    Returned,
    RunBody,
)
from redisflow.engine.execution import Execution, Surroundings
from redisflow.errors import InvalidWorkflow, RedisflowError
from redisflow.failure import Failure
from redisflow.mail import Mail, hash_signal_name
from redisflow.testing.stored_run import Said, StoredRun
from redisflow.worker.bodies import is_async

MOST_CLAIMS = 100_000
"""A run that is taken up more often goes round in circles."""


class WouldWait(RedisflowError):
    """The run waits for a signal or a child that the test does not give, and would wait for ever."""


@dataclass(slots=True)
class Crash:
    """Let the worker die at a commit, the first being number 1: before it is stored, or before its answer is seen."""

    at: int
    phase: Literal["before", "after"]


@dataclass(slots=True)
class Inside:
    """What the test gives instead of the world."""

    steps: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """By step name or key: a function to be called instead, an error to be raised, or a value."""
    children: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """By workflow name: a function of the child's input, an error, or an output."""
    resources: Any = None


class Player:
    """See the module; `play` once."""

    def __init__(
        self, definition: WorkflowDefinition[Any, Any], stored: StoredRun, inside: Inside, crash: Crash | None = None
    ) -> None:
        """`stored` is where the run begins, and what it has become afterwards."""
        self.stored = stored
        stored.run_script = self._run_script
        self.commits = 0
        self.starts: list[tuple[str, int]] = []
        """Key and attempt of each body that was started, in order."""
        self.scripts: list[str] = []
        """Key of each `step.redis` that was answered."""
        self._definition = definition
        self._inside = inside
        self._crash = crash
        self._now_ms = stored.created_at_ms
        self._around = Surroundings(entropy=lambda: 0.5, cpu_seconds=lambda: 0.0)
        self._execution: Execution | None = None
        self._bodies: dict[str, asyncio.Task[BodyOutcome]] = {}
        self._sent: Commit | None = None
        self._unheard: list[Said | tuple[str, bytes]] = []
        """What bodies say while what the code said before is not stored."""
        self._done: asyncio.Future[None]
        self._loop: asyncio.AbstractEventLoop

    async def play(self) -> StoredRun:
        """To the end of the run. WouldWait where it waits for what nobody will send."""
        self._loop = asyncio.get_running_loop()
        try:
            for _ in range(MOST_CLAIMS):
                if self.stored.status in ("succeeded", "failed", "suspended"):
                    return self.stored
                self._skip_to_due()
                self._done = self._loop.create_future()
                self._loop.call_soon(self._guarded, self._take_up)
                await self._done
        finally:
            await self._clear()
        msg = f"run {self.stored.run_id} was taken up {MOST_CLAIMS} times and has not ended"
        raise RedisflowError(msg)

    def _skip_to_due(self) -> None:
        stored = self.stored
        if stored.status == "waiting" and stored.due_at_ms is None:
            wanted = ", ".join(map(repr, stored.waits_for_mail()))
            msg = (
                f"workflow {stored.workflow!r} waits for {wanted} and nothing else, so it would wait for ever: "
                "give signals={...} or children={...}"
            )
            raise WouldWait(msg)
        self._now_ms = max(self._now_ms, stored.due_at_ms or 0)

    # -- in callbacks of the loop, as in a worker -----------------------------------------------------------------

    def _guarded(self, what: Callable[..., None], *args: Any) -> None:
        """Whatever fails here is raised where the run is played."""
        try:
            what(*args)
        except BaseException as error:  # noqa: BLE001  # it is passed on
            if not self._done.done():
                self._done.set_exception(error)

    def _take_up(self) -> None:
        self._execution = Execution(self._definition, self.stored.claim(self._now_ms), self._around)
        self._do(self._execution.start(self._now_ms))

    def _do(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case RunBody():
                    self._start(command)
                case CancelBody():
                    self._bodies.pop(command.key).cancel()
                case Commit():
                    self._sent = command
                    self._loop.call_soon(self._guarded, self._store, command)
                case _:
                    assert_never(command)
        self._watch_time()

    def _watch_time(self) -> None:
        """Nothing but time can help a held run whose bodies all wait for each other's retries: let it pass."""
        execution = self._execution
        if execution is None or self._sent is not None or self._bodies or execution.next_due_at_ms is None:
            return
        self._now_ms = max(self._now_ms, execution.next_due_at_ms)
        self._loop.call_soon(self._guarded, self._time_passed, execution)

    def _time_passed(self, execution: Execution) -> None:
        if execution is self._execution:
            self._do(execution.time_passed(self._now_ms))

    def _store(self, commit: Commit) -> None:
        execution = self._execution
        if execution is None or commit is not self._sent:
            return
        self.commits += 1
        crash = self._crash if self._crash and self._crash.at == self.commits else None
        if crash and crash.phase == "before":
            self._die()
            return
        is_left = self.stored.apply(commit)
        self._sent = None
        heard, self._unheard = self._unheard, []
        for said in heard:
            self._hear(said)
        if crash:
            self._die()
            return
        if is_left:
            self._leave()
        elif isinstance(commit.then, GoOn):
            self._do(execution.committed(self._now_ms))
            self._read_mail(execution)
        else:
            self._do(execution.not_parked(self._now_ms))
            # Even where it was read while the commit was under way: nothing could be done about it then.
            self._do(execution.mail_came(list(self.stored.mail), self.stored.mail_count, self._now_ms))

    def _read_mail(self, execution: Execution) -> None:
        seen, stored = execution.mail_seen, self.stored
        if execution is self._execution and seen is not None and seen < stored.mail_count:
            self._do(execution.mail_came(list(stored.mail), stored.mail_count, self._now_ms))

    def _die(self) -> None:
        """The worker is gone, with all that it had in memory."""
        if self.stored.status == "running":
            self.stored.crash()
        self._leave()

    def _leave(self) -> None:
        execution, self._execution, self._sent = self._execution, None, None
        self._unheard.clear()
        for task in self._bodies.values():
            task.cancel()
        if execution is not None:
            execution.evict()
        if not self._done.done():
            self._done.set_result(None)

    async def _clear(self) -> None:
        if self._execution is not None:
            self._leave()
        tasks, self._bodies = list(self._bodies.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- bodies ---------------------------------------------------------------------------------------------------

    def _start(self, command: RunBody) -> None:
        self.starts.append((command.key, command.attempt))
        began_ms = self._now_ms
        task = self._loop.create_task(self._attempt(command), name=command.key)
        self._bodies[command.key] = task
        execution = self._execution
        task.add_done_callback(lambda _: self._guarded(self._body_ended, execution, command, task, began_ms))

    def _body_ended(
        self, execution: Execution | None, command: RunBody, task: asyncio.Task[BodyOutcome], began_ms: int
    ) -> None:
        if self._bodies.get(command.key) is task:
            del self._bodies[command.key]
        if execution is None or execution is not self._execution or task.cancelled():
            return
        error = task.exception()
        outcome = task.result() if error is None else Raised(error)
        self._do(execution.body_ended(command.key, command.attempt, outcome, began_ms, self._now_ms))

    async def _attempt(self, command: RunBody) -> BodyOutcome:
        """Its timeout is the one thing here that goes by real time, as the body does."""
        timeout_ms = command.timeout_ms
        limit = asyncio.timeout(None if timeout_ms is None else timeout_ms / 1000)
        try:
            async with limit:
                return Returned(await self._run_body(command))
        except TimeoutError as error:
            if not limit.expired():
                return Raised(error)
            msg = f"the attempt took longer than its timeout of {describe_ms(timeout_ms or 0)}"
            return Raised(TimeoutError(msg), timed_out=True)

    async def _run_body(self, command: RunBody) -> Any:
        name = command.key.rpartition("#")[0] or command.key
        steps = self._inside.steps
        given = steps.get(command.key, steps.get(name, _NOT_GIVEN))
        if given is _NOT_GIVEN:
            fn: Any = command.fn
        elif callable(given) and not isinstance(given, type):
            fn = given
        else:
            return _give(given)
        body = _Body(
            self._hear,
            self.stored.run_id,
            command.key,
            command.attempt,
            command.idempotency_key,
            self._inside.resources,
            _Outside(self.stored, self._inside),
        )
        current_body.set(body)
        if is_async(fn):
            return await fn(*command.args, **command.kwargs)
        context = contextvars.copy_context()
        value = await asyncio.to_thread(context.run, fn, *command.args, **command.kwargs)
        return await value if inspect.isawaitable(value) else value

    def _hear(self, said: Said | tuple[str, bytes]) -> None:
        if self._sent is not None and self._sent.extension.saying is not None:
            self._unheard.append(said)
        elif isinstance(said, Said):
            self.stored.events.append(said)
        else:
            self.stored.state[said[0]] = said[1]

    def _run_script(self, once: str, keys: list[str], args: list[Any]) -> tuple[str, bytes]:
        """There is no server to run a script: the test says what it gives."""
        key = _EPOCH.sub("", once.partition(":")[2])
        name = _REPEATED.sub("", key)
        self.scripts.append(key)
        steps = self._inside.steps
        given = steps.get(key, steps.get(name, _NOT_GIVEN))
        if given is _NOT_GIVEN:
            msg = (
                f"step.redis({name!r}) needs a server for its script: say what it gives with steps={{{name!r}: ...}}, "
                "a reply or a function of its keys and arguments"
            )
            raise InvalidWorkflow(msg)
        try:
            is_function = callable(given) and not isinstance(given, type)
            return "succeeded", codec.encode(given(keys, args) if is_function else _give(given))
        except Exception as error:  # noqa: BLE001  # of users: how the script fails
            return "failed", str(error).encode()


_NOT_GIVEN = object()
_EPOCH = re.compile(r"#0\d+$")
_REPEATED = re.compile(r"#\d+$")


def _give(given: Any) -> Any:
    value: Any = given
    if isinstance(given, BaseException) or (isinstance(given, type) and issubclass(given, BaseException)):
        raise given
    return value


class _Body(BodyContext):
    """What it says is heard."""

    __slots__ = ("_hear",)

    def __init__(self, hear: Callable[[Said | tuple[str, bytes]], None], *about: Any) -> None:
        super().__init__(*about)
        self._hear = hear

    def emit(self, kind: str, data: bytes) -> None:
        self._hear(Said(kind, data, self.key, self.attempt))

    def set_state(self, key: str, data: bytes) -> None:
        self._hear((key, data))


class _Outside:
    """What steps of redisflow's own act through: children end as the test says."""

    def __init__(self, stored: StoredRun, inside: Inside) -> None:
        self._stored = stored
        self._inside = inside

    async def start_child(self, order: ChildOrder) -> None:
        name = order.spec.name
        if name not in self._inside.children:
            msg = f"workflow {name!r} is run as a child: give its output with children={{{name!r}: ...}}"
            raise InvalidWorkflow(msg)
        given = self._inside.children[name]
        try:
            is_function = callable(given) and not isinstance(given, type)
            value = given(order.spec.input.decode(order.data)) if is_function else _give(given)
            value = await value if inspect.isawaitable(value) else value
            status, payload = "succeeded", order.spec.output.encode(value)
        except Exception as error:  # noqa: BLE001  # of users: how the child fails
            status, payload = "failed", codec.encode(Failure.of(error).to_wire())
        self._stored.end_child(order.run_id, status, payload)

    async def send_signal(self, run_id: str, name: str, payload: bytes, once: str) -> bool:
        if once not in self._stored.sent:
            self._stored.sent[once] = (run_id, name, payload)
        return True

    async def broadcast(self, name: str, payload: bytes, retain_ms: int | None, once: str) -> Broadcast:
        del retain_ms  # nobody else is here, and this run is reached when it waits
        stored = self._stored
        is_reached = hash_signal_name(name) in stored.waits
        if once not in stored.sent:
            stored.sent[once] = ("", name, payload)
            if is_reached:
                stored.post(Mail(0, "signal", name, "", "", payload))
        return Broadcast((stored.run_id,), 1) if is_reached else Broadcast((), 0)
