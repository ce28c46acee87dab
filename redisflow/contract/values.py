"""What goes over the contract: new runs and claims down, extensions and verdicts up.

Values are frozen, but for the four that are made for every run (Mark, Hold, Claim, Extension): freezing a dataclass
makes it several times as dear to make. Nobody changes them.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from redisflow.durations import When
    from redisflow.mail import Mail
    from redisflow.runs import Ending


T_co = TypeVar("T_co", covariant=True)

Place = tuple[int, int]
"""Of what a workflow's code says to the outside: after which record, and the how many-th thing there."""
NOTHING_SAID: Place = (-1, 0)


class Answer(Protocol[T_co]):
    """What will come of a call: to be awaited, or to be listened to, once. An asyncio.Future is one."""

    def __await__(self) -> Generator[Any, Any, T_co]:
        """Wait for it."""
        ...

    def add_done_callback(self, listener: Callable[[Any], object], /) -> None:
        """Call the listener with this answer once it is there, at once or soon; never inside a task."""
        ...

    def done(self) -> bool:
        """Whether it is there."""
        ...

    def cancelled(self) -> bool:
        """Whether nobody will ever know."""
        ...

    def exception(self) -> BaseException | None:
        """Why there is no result, once it is there."""
        ...

    def result(self) -> T_co:
        """The result, once it is there."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """Within `keep_ms`, the same key with the same fingerprint names the same run; with another it is a conflict."""

    key_hash: str
    fingerprint: str
    keep_ms: int


@dataclass(slots=True, kw_only=True)  # not frozen: each start makes one, and setting is half as dear
class NewRun:
    """What a client asks to be run."""

    run_id: str
    workflow: str
    version: str | None
    queue: str
    input: bytes
    available: When | None = None
    deadline: When | None = None
    expires: When | None = None
    """Canceled if no worker has taken it up by then."""
    idempotency: Idempotency | None = None
    parent: str | None = None
    """The run that waits for this one's end."""
    fields: Mapping[str, bytes | str | int] = field(default_factory=dict[str, "bytes | str | int"])
    """Further fields of the run's hash, by their stored names."""


@dataclass(frozen=True, slots=True)
class Created:
    """The run that `create_run` leaves: the new one, or the one that holds the idempotency key."""

    run_id: str
    existing: bool
    is_confirmed: bool = True
    """Whether as many replicas as were asked for have it."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """The idempotency key belongs to a run with another input."""

    run_id: str


@dataclass(slots=True)
class Mark:
    """How long a run's record is: records, and bytes of its input and records together."""

    records: int
    bytes: int

    def __str__(self) -> str:
        """As it is stored."""
        return f"{self.records}:{self.bytes}"

    @classmethod
    def parse(cls, text: str) -> Mark:
        """From how it is stored."""
        records, _, size = text.partition(":")
        return cls(int(records), int(size))


@dataclass(slots=True)
class Hold:
    """What a holder shows with each call: which run, and the fence that shuts earlier holders out."""

    run_id: str
    queue: str
    fence: str
    entry: str

    @property
    def stored_bytes(self) -> int:
        """Of the record as it is stored, where that is not what its holder counts; else 0."""
        return 0


@dataclass(slots=True)
class Claim:
    """A run that a worker has just been given, with all that is needed to go on with it."""

    hold: Hold
    workflow: str
    version: str | None
    input: bytes
    created_at_ms: int
    started_at_ms: int
    deadline_at_ms: int | None
    mark: Mark
    records: Sequence[bytes]
    crashes: int
    """Claims in a row that ended in a crash, with nothing recorded since."""
    parent: str | None = None
    """The run that waits for this one's end."""
    mail: Sequence[Mail] = ()
    """What lies in its mailbox."""
    mail_count: int = 0
    """How many items ever came there: the number of the last one."""
    waits: Sequence[str] = ()
    """Hashes of the signal names for which it is registered: broadcasts reach it."""
    end_effects: Sequence[bytes | str] = ()
    """What the end of this run does besides: effects that go with its finish."""
    tags: str = ""
    """As they are stored: few workflows read them."""
    opening: Answer[None] | None = None
    """Input, records and mail are still being read where it is given, and there when it has come; it says why where
    they cannot be read here."""
    scheduled_at_ms: int | None = None
    """The tick for which its schedule started it."""
    is_limited: bool = False
    """It holds slots of limits: its holder says `free` when it lets the run wait or ends it."""
    said: Place = NOTHING_SAID
    """Up to where its code's events and state are stored."""
    ending: Ending | None = None
    """A verdict from outside is fixed: only its compensations may run, then it ends so."""
    continued: int = 0
    """How often it was continued as new."""
    depth: int = 0
    """How many runs wait for this one's end, one above the other."""
    available_at_ms: int | None = None
    """From when on it was to be run, where that was said."""
    trace: str | None = None
    """The context of a trace in which it was started, as text."""
    last_trace: str | None = None
    """The same of its last holder."""

    @property
    def due_at_ms(self) -> int:
        """From when on it could have been taken up."""
        return self.created_at_ms if self.available_at_ms is None else self.available_at_ms


@dataclass(frozen=True, slots=True)
class ClaimBatch:
    """The answer to a claim; `now_ms` is the server's clock when it was given."""

    now_ms: int
    next_due_in_ms: int | None
    claims: list[Claim]
    broken: int
    """Runs whose hash could not be read; they are listed under `broken` and left alone."""


class Verdict(enum.Enum):
    """What became of a holder's call."""

    OK = "ok"
    MAIL = "mail"
    """As ok, and there is mail that the holder has not seen. A run that was to be parked is still held."""
    FENCED = "fenced"
    """Another holder has the run, or nobody: drop it."""
    ENDED = "ended"
    """The run was ended from outside (canceled, deadline, poisoned): drop it."""
    BEHIND = "behind"
    """The record is not as long as the holder believes: load the run anew."""
    MISSING = "missing"
    """The run is no longer stored."""


@dataclass(slots=True)
class Saying:
    """What a workflow's code says to the outside, in order, up to a place."""

    up_to: Place
    events: Sequence[tuple[str, bytes]]
    """Kind and data."""
    state: Mapping[str, bytes]


@dataclass(slots=True)
class Extension:
    """What a holder appends: the mark it extends, the mark it leaves, and the records between them."""

    before: Mark
    after: Mark
    records: Sequence[bytes]
    effects: Sequence[bytes | str | int] = ()
    """What is done in the same step: verbs with their arguments, one after the other (lua/lib/effect_*.lua)."""
    saying: Saying | None = None
    """What is said in the same step."""


@dataclass(frozen=True, slots=True)
class About:
    """What a worker says of itself with each heartbeat, as it is stored."""

    said: bytes
    """Host, process, queues, workflows: for people, and for reports."""
    serves: str
    """For scripts: a line for each queue, workflow and version (none: any) that it serves, with spaces between."""


@dataclass(frozen=True, slots=True)
class Beat:
    """What a heartbeat found."""

    lost: Sequence[str]
    """Runs that the worker no longer holds."""
    mail: Mapping[str, int]
    """By run that it holds and that ever got mail, the number of the last."""
    drain: bool = False
    """The worker was told to claim nothing more, and to stop."""


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What one bounded step of upkeep did."""

    done: bool
    """Nothing is left to look at for now."""
    reclaimed: int = 0
    poisoned: int = 0
    lost: int = 0
    """Entries without a readable run, or hints that were rebuilt."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """A run's workflow, status, and its output or failure once it has ended (bytes as stored)."""

    workflow: str
    status: str
    output: bytes | None
    error: bytes | None
    cause: str | None
    """`deadline`, `poisoned`, `canceled`, `expired` or `replaced` where a verdict from outside ended it."""
