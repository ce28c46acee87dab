"""A store and a worker in memory that play one run to its end, with a clock of their own and every choice in one place.

`Store` is what Redis would hold. `Stage` claims the run, starts bodies, stores commits, and lets a `Director` choose
what happens next: which body ends, when a commit is stored and when its answer is seen, where a worker crashes. On the
way it holds the engine to its rules; a test only says how the run should go.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Unpack

from redisflow import codec
from redisflow.authoring.body import BodyContext, current_body
from redisflow.authoring.definition import WorkflowDefinition, WorkflowOptions, spec_of
from redisflow.authoring.outside import Broadcast, ChildOrder
from redisflow.contract import NOTHING_SAID, Claim, Hold, Mark, Place, Saying, Verdict
from redisflow.engine.commands import (
    BodyOutcome,
    CancelBody,
    Command,
    Commit,
    Continue,
    Finish,
    GoOn,
    Park,
    Raised,
    Returned,
    RunBody,
    Suspend,
)
from redisflow.engine.execution import Execution, Surroundings
from redisflow.failure import Failure
from redisflow.mail import Mail, hash_signal_name, signal_address
from redisflow.records import AttemptFailed, ChildStarted, Record, StepFailed, StepSucceeded, decode_record
from redisflow.run_views import live_records
from redisflow.runs import Ending
from tests.engine.director import Director

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T0 = 1_700_000_000_000
LEASE_MS = 30_000
MOST_STEPS = 200_000


_sink: list[Any] | None = None


def saw(what: Any) -> None:
    """Called by workflow code, for each thing that it sees. What it sees while it leaves memory does not count."""
    if _sink is not None:
        _sink.append(what)


def _tell(sink: list[Any] | None) -> list[Any] | None:
    global _sink  # workflow code runs in a context of its own, and knows no stage
    before, _sink = _sink, sink
    return before


def define(fn: Callable[..., Any], **options: Unpack[WorkflowOptions]) -> WorkflowDefinition[Any, Any]:
    return WorkflowDefinition(spec=spec_of("play", fn, version=None, queue="default"), fn=fn, **options)


@dataclass
class Store:
    """A run as it is stored."""

    input: bytes
    run_id: str = "run-1"
    records: list[bytes] = field(default_factory=list)
    status: str = "pending"
    due_at_ms: int | None = 0
    started_at_ms: int | None = None
    crashes: int = 0
    payload: bytes = b""
    message: str = ""
    is_runaway: bool | None = None
    mark: Mark = field(default_factory=lambda: Mark(0, 0))
    mail: list[Mail] = field(default_factory=list)
    """What lies in the mailbox."""
    mail_count: int = 0
    wants: str = ""
    waits: list[str] = field(default_factory=list)
    """Hashes of the signal names for which it is registered."""
    kept: list[tuple[str, Any]] = field(default_factory=list)
    """Broadcasts, name and data, that are given to a run when it starts to wait."""
    kids: dict[str, str] = field(default_factory=dict)
    """Children whose end is to be told, with what becomes of them if nobody waits."""
    canceled: list[str] = field(default_factory=list)
    """Children that were canceled because nobody waits for them."""
    told: list[str] = field(default_factory=list)
    """The parents that were told of this run's end."""
    parent: str | None = None
    is_compensable: bool = False
    continued: int = 0
    depth: int = 0
    ending: Ending | None = None
    """The verdict that is fixed."""
    cause: str = ""
    said: Place = NOTHING_SAID
    events: list[tuple[str, Any]] = field(default_factory=list)
    """Kind and data of what the code has emitted."""
    state: dict[str, Any] = field(default_factory=dict)
    scripts: dict[str, tuple[str, list[str], list[Any]]] = field(default_factory=dict)
    """By its key, each script that has run, with its keys and arguments: its reply is how many have."""

    def __post_init__(self) -> None:
        self.mark = Mark(0, len(self.input))

    def history(self) -> list[Record]:
        assert self.started_at_ms is not None
        return [decode_record(data, self.started_at_ms) for data in self.records]

    def claim(self, now_ms: int, *, records: int | None = None) -> Claim:
        if self.started_at_ms is None:
            self.started_at_ms = now_ms
        kept = self.records[:records]
        return Claim(
            hold=Hold(self.run_id, "default", "1:a", "1-1"),
            workflow="play",
            version=None,
            input=self.input,
            created_at_ms=T0,
            started_at_ms=self.started_at_ms,
            deadline_at_ms=None,
            mark=Mark(len(kept), len(self.input) + sum(map(len, kept))),
            records=list(kept),
            crashes=self.crashes,
            parent=self.parent,
            ending=self.ending,
            continued=self.continued,
            depth=self.depth,
            mail=list(self.mail),
            mail_count=self.mail_count,
            said=self.said,
            waits=list(self.waits),
        )

    def signal(self, name: str, data: Any = None) -> None:
        """A signal comes; a run that waits for it is woken."""
        self.mail_count += 1
        self.mail.append(Mail(self.mail_count, "signal", name, "", "", codec.encode(data)))
        if self.status == "waiting" and f"\n{signal_address(name)}\n" in self.wants:
            self.status, self.due_at_ms = "pending", 0

    def apply(self, commit: Commit) -> Verdict:
        """Store a commit; it extends exactly what is stored. A run whose holder has not seen all mail is not parked."""
        assert self.status == "running"
        extension, then = commit.extension, commit.then
        assert extension.before == self.mark
        self.records.extend(extension.records)
        self.mark = Mark(len(self.records), self.mark.bytes + sum(map(len, extension.records)))
        assert extension.after == self.mark
        self.crashes = 0
        self._do_effects(list(extension.effects))
        if extension.saying is not None:
            self.hear(extension.saying)
        verdict = Verdict.MAIL if commit.seen is not None and commit.seen < self.mail_count else Verdict.OK
        match then:
            case GoOn():
                return verdict
            case Park():
                if verdict is Verdict.OK:
                    self.status, self.due_at_ms, self.wants = "waiting", then.due_at_ms, then.wants
                return verdict
            case Finish():
                self.status, self.payload = then.status, then.payload
            case Continue():
                self.records.clear()
                self.input, self.started_at_ms = then.input, None
                self.mark, self.continued, self.is_compensable = Mark(0, len(then.input)), self.continued + 1, False
                self.status, self.due_at_ms, self.said = "pending", 0, NOTHING_SAID
            case Suspend():
                assert not extension.records
                self.status, self.payload, self.message = "suspended", then.problem, then.message
                self.is_runaway = then.is_runaway
        return Verdict.OK

    def _do_ending(self, verb: str, effects: list[Any]) -> None:
        if verb == "compensable":
            self.is_compensable = True
        else:
            assert self.ending is not None
            self.cause, self.ending = effects.pop(0), None

    def _do_effects(self, effects: list[Any]) -> None:
        while effects:
            match effects.pop(0):
                case "take":
                    number = effects.pop(0)
                    assert [mail.number for mail in self.mail].count(number) == 1, "mail is taken once"
                    self.mail = [mail for mail in self.mail if mail.number != number]
                case "wait":
                    name_hash = effects.pop(0)
                    assert name_hash not in self.waits, "it is registered once"
                    self.waits.append(name_hash)
                    for name, data in [kept for kept in self.kept if hash_signal_name(kept[0]) == name_hash]:
                        self.kept.remove((name, data))
                        self.signal(name, data)
                case "unwait":
                    self.waits.remove(effects.pop(0))
                case "kid":
                    child, self.kids[child] = effects.pop(0), effects.pop(0)
                case "drop":
                    child = effects.pop(0)
                    if self.kids.pop(child, None) == "cancel":
                        self.canceled.append(child)
                case "orphan":
                    self.canceled += [child for child, policy in self.kids.items() if policy == "cancel"]
                    self.kids.clear()
                case "compensable" | "verdict" as verb:
                    self._do_ending(verb, effects)
                case "tell":
                    self.told.append(effects.pop(0))
                case verb:
                    assert verb == "redis", verb
                    self._run_script(effects)

    def _run_script(self, effects: list[Any]) -> None:
        once, script = effects.pop(0), effects.pop(0)
        keys = [effects.pop(0) for _ in range(effects.pop(0))]
        args = [effects.pop(0) for _ in range(effects.pop(0))]
        assert once not in self.scripts, "a script runs once"
        self.scripts[once] = (script, keys, args)
        self.mail_count += 1
        failed = script == "fail"
        reply = b"no" if failed else codec.encode(len(self.scripts))
        self.mail.append(Mail(self.mail_count, "redis", once, "failed" if failed else "succeeded", "", reply))

    def end_child(self, child: str, status: str = "succeeded", payload: Any = None, cause: str = "") -> None:
        """A child ends: its parent is told, once."""
        if self.kids.pop(child, None) is None:
            return
        self.mail_count += 1
        data = payload if isinstance(payload, bytes) else codec.encode(payload)
        self.mail.append(Mail(self.mail_count, "child", child, status, cause, data))
        if self.status == "waiting" and "\nc\n" in self.wants:
            self.status, self.due_at_ms = "pending", 0

    def hear(self, saying: Saying) -> None:
        """What the code says is stored."""
        assert saying.up_to > self.said, "nothing is said twice"
        assert saying.up_to[0] < len(self.records), "what was said rests on what is stored"
        self.said = saying.up_to
        self.events += [(kind, codec.decode(data)) for kind, data in saying.events]
        self.state |= {key: codec.decode(data) for key, data in saying.state.items()}


@dataclass
class Start:
    """A body that was started."""

    key: str
    attempt: int
    idempotency_key: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass
class Pass:
    """One claim, from its start until the run left or the worker crashed."""

    saw: list[Any] = field(default_factory=list)
    """What workflow code has told `saw`."""
    found: int = 0
    """How many records were stored when it began."""
    stored: int = 0
    """How many records were stored when it ended."""


class Stage:
    """Plays one run."""

    def __init__(
        self,
        definition: WorkflowDefinition[Any, Any],
        value: Any = None,
        *,
        director: Director | None = None,
        run_id: str = "run-1",
        slack_ms: int = 0,
        cpu_seconds: Callable[[], float] = lambda: 0.0,
        payload_limit: int = 1 << 20,
    ) -> None:
        self.definition = definition
        self.director = director or Director()
        self.store = Store(definition.spec.input.encode(value), run_id)
        self.now_ms = T0 + 1_000
        self.slack_ms = slack_ms
        self.around = Surroundings(entropy=lambda: 0.5, cpu_seconds=cpu_seconds, payload_limit=payload_limit)
        self.starts: list[Start] = []
        self.canceled: list[str] = []
        self.commits: list[Commit] = []
        self.passes: list[Pass] = []
        self._bodies: dict[str, tuple[RunBody, BodyOutcome]] = {}
        self._sent: Commit | None = None
        self._is_stored = False
        self._verdict = Verdict.OK
        self._execution: Execution | None = None
        self._lag_ms = 0

    # -- what tests read ------------------------------------------------------------------------------------------

    @property
    def has_ended(self) -> bool:
        """Nothing more will happen by itself."""
        return self.store.status in {"succeeded", "failed", "canceled", "suspended"}

    @property
    def output(self) -> Any:
        assert self.store.status == "succeeded", self.failure
        return codec.decode(self.store.payload)

    @property
    def failure(self) -> Failure | None:
        return (
            Failure.from_wire(codec.decode(self.store.payload))
            if self.store.status in {"failed", "suspended", "canceled"} and self.store.payload
            else None
        )

    @property
    def started(self) -> list[str]:
        """Keys of the bodies in the order of their starts."""
        return [start.key for start in self.starts]

    @property
    def counts(self) -> Counter[str]:
        """How often the body of each key was started."""
        return Counter(self.started)

    # -- playing --------------------------------------------------------------------------------------------------

    def play(self, *, until: Callable[[Stage], bool] | None = None) -> Stage:
        """Claim the run as often as it takes, until it has ended, or is suspended, or `until` is true."""
        try:
            for _ in range(MOST_STEPS):
                if until is not None and until(self):
                    return self
                if self._is_stored and self.has_ended:
                    self.acknowledge()
                elif self.has_ended:
                    return self
                elif self._execution is None:
                    assert self.store.due_at_ms is not None, "the run waits for mail alone"
                    self.now_ms = max(self.now_ms, self.store.due_at_ms)
                    self.claim()
                else:
                    self.director.choose(self)
            raise AssertionError("the run does not end")
        except BaseException:
            if self._execution is not None:
                self.leave()
            raise

    def claim(self) -> None:
        """A worker is given the run."""
        assert self._execution is None
        claim = self.store.claim(self.now_ms)
        self.store.status = "running"
        self._lag_ms = self.director.lag_ms(self.slack_ms)
        execution = Execution(self.definition, claim, self.around, slack_ms=self.slack_ms)
        self._execution = execution
        self.passes.append(Pass(found=len(claim.records)))
        _tell(self.passes[-1].saw)
        now_ms, self.now_ms = self.now_ms, self.now_ms + self._lag_ms
        self._do(execution.start(now_ms))

    def running(self) -> list[str]:
        return list(self._bodies)

    def end_body(self, key: str, outcome: BodyOutcome | None = None) -> None:
        """The body's outcome is seen by the engine."""
        command, own = self._bodies.pop(key)
        now_ms = self._clock()
        self._do(self.held.body_ended(key, command.attempt, outcome or own, max(T0, now_ms - 3), now_ms))

    def pass_time(self, ms: int) -> None:
        self.now_ms += ms
        self._do(self.held.time_passed(self._clock()))

    @property
    def can_store(self) -> bool:
        return self._sent is not None and not self._is_stored

    @property
    def can_acknowledge(self) -> bool:
        return self._is_stored

    def store_commit(self) -> None:
        """The commit that is on its way reaches the store."""
        assert self._sent is not None
        self._verdict = self.store.apply(self._sent)
        self._is_stored = True

    def acknowledge(self) -> None:
        """The worker sees that its commit was stored."""
        assert self._sent is not None
        commit, self._sent, self._is_stored = self._sent, None, False
        if isinstance(commit.then, GoOn):
            self._do(self.held.committed(self._clock()))
        elif self._verdict is Verdict.MAIL:
            self.held.not_parked(self._clock())
        else:
            self.leave()
            return
        if self._verdict is Verdict.MAIL:
            self.read_mail()

    def signal(self, name: str, data: Any = None, *, told: bool = True) -> None:
        """A signal comes; whether the holder is told of it, or finds it by what its next commit answers."""
        self.store.signal(name, data)
        if told and self._execution is not None:
            self.read_mail()

    def read_mail(self) -> None:
        """The holder reads the mailbox."""
        store = self.store
        self._do(self.held.mail_came(list(store.mail), store.mail_count, self._clock()))

    def end_from_outside(self, status: Literal["failed", "canceled"], cause: Literal["deadline", "canceled"]) -> None:
        """The run is canceled, or late: its holder is shut out, and a run that has compensations is given back."""
        if self.is_held:
            self.leave()
        store = self.store
        if not store.is_compensable:
            store.status, store.cause = status, cause
        elif store.ending is None:
            store.status, store.due_at_ms = "pending", 0
            store.ending = Ending(status, cause, None)

    def crash(self) -> None:
        """The worker dies; its lease runs out."""
        self.leave()
        if self.store.status == "running":
            self.store.crashes += 1
            self.store.status, self.store.due_at_ms = "pending", 0
        self.now_ms += LEASE_MS

    def leave(self) -> None:
        """The run leaves the worker's memory, whatever it is doing."""
        current = self.passes[-1]
        current.stored = len(self.store.records)
        _tell(None)
        self._bodies.clear()
        self._sent, self._is_stored = None, False
        self.held.evict()
        self._execution = None

    @property
    def held(self) -> Execution:
        assert self._execution is not None
        return self._execution

    @property
    def is_held(self) -> bool:
        return self._execution is not None

    def _clock(self) -> int:
        """What the worker takes for now."""
        return self.now_ms - self._lag_ms

    # -- the rules ------------------------------------------------------------------------------------------------

    def _do(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case RunBody():
                    self._start(command)
                case CancelBody():
                    self.canceled.append(command.key)
                    del self._bodies[command.key]
                case Commit():
                    assert self._sent is None, "one commit is in flight at a time"
                    assert isinstance(command.then, GoOn) or not self._bodies, "a run leaves when nothing of it runs"
                    self._sent = command
                    self.commits.append(command)
        assert self._sent is not None or self._bodies, "the run stalls"
        assert self.held.in_flight == (self._sent is not None)

    def _start(self, command: RunBody) -> None:
        key = command.key
        assert key not in self._bodies, "a body runs once at a time"
        stored = [record for record in live_records(self.store.history()) if _key_of(record) == key]
        over = StepSucceeded | StepFailed | ChildStarted
        assert not any(isinstance(record, over) for record in stored), "its result is recorded"
        failed = sum(isinstance(record, AttemptFailed) for record in stored)
        assert command.attempt == failed + 1, "attempts are numbered without a gap, and each is stored before the next"
        self.starts.append(Start(key, command.attempt, command.idempotency_key, command.args, dict(command.kwargs)))
        self._bodies[key] = (command, run_body(command, self.store.run_id))


def run_body(command: RunBody, run_id: str) -> BodyOutcome:
    """Run a body to its end, as a worker does; it may wait for nothing."""
    context = contextvars.copy_context()
    body = BodyContext(run_id, command.key, command.attempt, command.idempotency_key, None, _Outside())
    context.run(current_body.set, body)
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        value = context.run(command.fn, *command.args, **command.kwargs)
        if inspect.iscoroutine(value):
            try:
                context.run(value.send, None)
            except StopIteration as stop:
                value = stop.value
            else:
                raise AssertionError("bodies on this stage wait for nothing")
    except AssertionError:
        raise
    except BaseException as error:
        return Raised(error)
    finally:
        asyncio._set_running_loop(loop)
    return Returned(value)


class _Outside:
    """What steps of redisflow's own act through: here it only notes what was ordered."""

    async def start_child(self, order: ChildOrder) -> None:
        ordered.append(order)

    async def broadcast(self, name: str, payload: bytes, retain_ms: int | None, once: str) -> Broadcast:
        raise AssertionError("no signals are sent on this stage")

    async def send_signal(self, run_id: str, name: str, payload: bytes, once: str) -> bool:
        raise AssertionError("no signals are sent on this stage")


ordered: list[ChildOrder] = []
"""Children that were ordered, on any stage; a test looks at its own."""


def _key_of(record: Record) -> str | None:
    call = getattr(record, "call", None)
    return None if call is None else call.key


@dataclass
class Replay:
    """What a pass does with the first records of a run, before anything new happens."""

    commands: list[Command]
    saw: list[Any]
    starts: list[str]
    """Keys of the bodies that would start once what was asked anew is stored."""


def replay(stage: Stage, records: int | None = None, *, at_ms: int = T0) -> Replay:
    """Play the first records of the stage's run to a new execution; by default when nothing new is due yet."""
    told: list[Any] = []
    outer = _tell(told)
    store = stage.store
    # With so much slack, no sleep that is asked for here is due here.
    execution = Execution(stage.definition, store.claim(at_ms, records=records), stage.around, slack_ms=LEASE_MS)
    try:
        commands = execution.start(at_ms)
        seen = list(told)
        starts = [command.key for command in commands if isinstance(command, RunBody)]
        following = commands
        while any(isinstance(command, Commit) and isinstance(command.then, GoOn) for command in following):
            following = execution.committed(at_ms)
            starts += [command.key for command in following if isinstance(command, RunBody)]
    finally:
        _tell(None)
        execution.evict()
        _tell(outer)
    return Replay(commands, seen, starts)
