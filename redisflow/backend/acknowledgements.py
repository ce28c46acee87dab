"""What a server acknowledged to this process: whether replicas have it, and whether the server has it still.

Each batch of calls that change something ends with an `INCR` of a counter that is this process's own, one for each
partition. Its reply comes after theirs, and they count as answered only with it. A server that later shows a smaller
number than one that it acknowledged has lost that batch and what came after it: a fail-over to a replica that did not
have it, a restart from an older file. Nobody else moves the counter, so nobody can hide that.

The same `INCR` is what makes `WAIT` prove something. WAIT asks for the last write of its own connection, and a call
that is answered from the record writes nothing: without it, a call that was sent again over a new connection would be
confirmed at once by replicas that never got the first one (docs/decisions/0031-durability.md).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redisflow.backend.outage import logger
from redisflow.backend.wire import Refusal, pack

if TYPE_CHECKING:
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.wire import Command
    from redisflow.durability import Durability

KEEP_S = 86_400.0
"""A counter lives so long after its process renewed it last; each process has one a partition, of 100 bytes."""
RENEW_S = KEEP_S / 4
FORGET_S = KEEP_S * 0.9
"""After so long without a renewal it may be gone by itself: then it says nothing about the server."""
LOOK_S = 1.0
"""Where nothing is changed, the counter is only looked at, at most so often."""
SAMPLES = 600
"""Of when which number was acknowledged: one a second."""

# Their answers promise nothing that a loss could break: they read, or what they write is made anew by itself.
PROMISE_NOTHING = frozenset(
    {
        "add_minute",
        "await_run",
        "check_access",
        "claim_runs",
        "clear_outbox",
        "count_delayed",
        "count_runs",
        "count_statuses",
        "count_versions",
        "drive_controls",
        "drop_keys",
        "due_schedules",
        "find_holder",
        "inspect_keys",
        "inspect_runs",
        "leave_worker",
        "list_buffered",
        "list_controls",
        "list_held",
        "list_runs",
        "list_stuck",
        "list_workers",
        "note_loss",
        "note_progress",
        "open_namespace",
        "peek_queue",
        "read_events",
        "read_mail",
        "read_minutes",
        "read_records",
        "read_schedule",
        "reclaim_runs",
        "reconcile_runs",
        "renew_runs",
        "sample_queues",
        "survey_partition",
        "survey_queue",
        "sweep_workers",
        "take_turn",
        "wake_runs",
        "wake_stuck",
    }
)


class _Count:
    """The counter of one partition, as far as it is known here."""

    __slots__ = ("acked", "acked_s", "era", "increment", "key", "look", "looked_s", "prefix", "renewed_s", "samples")

    def __init__(self, prefix: str, client: str) -> None:
        """Nothing is acknowledged yet."""
        self.prefix = prefix
        self.key = f"{prefix}acked:{client}"
        self.increment = pack(("INCR", self.key))
        self.look = pack(("GET", self.key))
        self.acked = 0
        """The largest number that was acknowledged."""
        self.era = 0
        """Goes up with each loss: what was sent before it was found out says nothing more."""
        self.acked_s = 0.0
        self.renewed_s = self.looked_s = float("-inf")
        self.samples: deque[tuple[int, float]] = deque(maxlen=SAMPLES)

    def forget(self) -> None:
        """The server may have forgotten it, too."""
        self.acked, self.era = 0, self.era + 1
        self.samples.clear()


@dataclass(frozen=True, slots=True)
class FoundLoss:
    """Of one partition: so many batches, acknowledged at most so long ago (None: not known) and at least so long."""

    prefix: str
    batches: int
    had: int
    has: int
    after_s: float | None
    until_s: float


class Seal:
    """What a batch ends with, and what is to be made of its replies. Each write makes one: it is kept small."""

    __slots__ = ("asked", "packed", "waits")

    def __init__(self) -> None:
        """Nothing is asked yet."""
        self.asked: list[tuple[int, _Count, int, int, bool]] = []
        """The place of a reply that is a number: of which counter, its era and number when it was asked, counted up?"""
        self.packed: list[bytes] = []
        self.waits = False


class Acknowledgements:
    """Of one backend, for all its connections. Used by its event loop alone."""

    def __init__(self, scripts: Scripts, masked_url: str, durability: Durability) -> None:
        """Nothing is acknowledged yet."""
        self.waits = durability.level == "replicated"
        """Whether batches wait for replicas."""
        self.must_fsync = durability.level == "fsync" and not durability.assured
        """Whether each connection is to be asked if its server writes to disk before it answers."""
        self._client = secrets.token_hex(6)
        self._lasting = frozenset(script.sha for script in scripts if script.name not in PROMISE_NOTHING)
        self._counts: dict[str, _Count] = {}
        self._masked_url = masked_url
        self._replicas = durability.replicas
        self._timeout_ms = durability.timeout_ms
        self._wait = pack(("WAIT", self._replicas, self._timeout_ms))
        self.on_loss: Callable[[FoundLoss], object] = _ignore
        """Called with each loss that is found."""
        self.losses = 0
        """How many were found."""
        self.unconfirmed = 0
        """How many batches too few replicas confirmed in time."""
        self._unconfirmed_since: tuple[float, int] | None = None
        self._is_counting = True

    def lasts(self, command: Command) -> bool:
        """Whether its answer is a promise."""
        return command[0] == "EVALSHA" and command[1] in self._lasting

    # -- sealing a batch ------------------------------------------------------------------------------------------

    def seal(self, calls: Iterable[Any]) -> Seal | None:
        """What a batch of these calls (their commands come fourth) ends with; None where nothing is to be asked."""
        changed: dict[str, bool] = {}
        lasting = self._lasting
        for call in calls:
            command = call[3]
            if command[0] == "EVALSHA":
                prefix = command[3]
                changed[prefix] = command[1] in lasting or changed.get(prefix, False)
        if not changed:
            return None
        seal = Seal()
        if self._is_counting:
            now_s = time.monotonic()
            for prefix, is_changed in changed.items():
                self._ask(seal, prefix, now_s, is_changed=is_changed)
        if self.waits and any(changed.values()):
            seal.packed.append(self._wait)
            seal.waits = True
        return seal if seal.packed else None

    def _ask(self, seal: Seal, prefix: str, now_s: float, *, is_changed: bool) -> None:
        count = self._counts.get(prefix)
        if count is None:
            if not is_changed:
                return
            count = self._counts[prefix] = _Count(prefix, self._client)
        elif count.acked and now_s - count.renewed_s > FORGET_S:
            count.forget()
        packed = seal.packed
        if is_changed:
            seal.asked.append((len(packed), count, count.era, count.acked, True))
            packed.append(count.increment)
            if now_s - count.renewed_s > RENEW_S:
                count.renewed_s = now_s
                packed.append(pack(("PEXPIRE", count.key, int(KEEP_S * 1000))))
        elif count.acked and now_s - count.looked_s > LOOK_S:
            count.looked_s = now_s
            seal.asked.append((len(packed), count, count.era, count.acked, False))
            packed.append(count.look)

    def connection_lost(self) -> None:
        """The next server may be another one: it is looked at at once, and told again that the counters are to live."""
        for count in self._counts.values():
            count.looked_s = float("-inf")
            count.renewed_s = min(count.renewed_s, time.monotonic() - RENEW_S)

    # -- its replies ----------------------------------------------------------------------------------------------

    def open(self, seal: Seal, replies: list[Any]) -> bool:
        """Take the replies; whether enough replicas confirmed the batch (True where nobody asked)."""
        was_counted = self._is_counting  # without a write of its own, WAIT may ask for an old one
        now_s = time.monotonic()
        for at, count, era, floor, is_counted in seal.asked:
            reply = replies[at]
            if type(reply) is Refusal:
                was_counted = False
                self._refused(reply)
                continue
            if isinstance(reply, bytes) and not reply.isdigit():
                continue  # somebody else wrote there: it says nothing, and INCR is refused from now on
            number = int(reply or 0)
            if era == count.era and number < floor + is_counted:
                self._found(count, number - is_counted, now_s)
                count.acked, count.era = number, count.era + 1
            elif number > count.acked:
                count.acked = number
            count.acked_s = now_s
            samples = count.samples
            if not samples or now_s - samples[-1][1] >= 1:
                samples.append((number, now_s))
        if not seal.waits:
            return True
        confirmed = replies[-1]
        is_confirmed = was_counted and not isinstance(confirmed, Refusal) and confirmed >= self._replicas
        if not is_confirmed or self._unconfirmed_since is not None:
            self._say_whether_confirmed(is_confirmed, confirmed)
        return is_confirmed

    def moved(self, seal: Seal, replies: list[Any]) -> dict[str, str]:
        """By prefix, a server's words about partitions that were its own when it executed the calls, and are not now.

        It may have been replaced before it did; then nobody has what it wrote.
        """
        return {
            count.prefix: str(reply)
            for at, count, _, _, is_counted in seal.asked
            if is_counted and type(reply := replies[at]) is Refusal and reply.code == "MOVED"
        }

    def _refused(self, refusal: Refusal) -> None:
        if refusal.code == "NOPERM" and self._is_counting:
            self._is_counting = False
            logger.warning(
                "lost writes will not be noticed at %s: its user may not use INCR on keys of the namespace (%s)",
                self._masked_url,
                refusal.words,
            )

    def _found(self, count: _Count, kept: int, now_s: float) -> None:
        self.losses += 1
        before = [sample for sample in count.samples if sample[0] <= kept]
        after_s = now_s - before[-1][1] if before else None
        count.samples.clear()
        loss = FoundLoss(count.prefix, count.acked - kept, count.acked, kept, after_s, now_s - count.acked_s)
        logger.error(
            "redis lost acknowledged writes: of partition %s at %s, batch %d of this process was acknowledged, and the"
            " server has only %d: %d are gone, acknowledged between %s and %.1f s ago. Runs go on from where the server"
            " has them; runs that were started then may be gone",
            count.prefix,
            self._masked_url,
            loss.had,
            loss.has,
            loss.batches,
            "?" if after_s is None else f"{after_s:.1f}",
            loss.until_s,
        )
        self.on_loss(loss)

    def _say_whether_confirmed(self, is_confirmed: bool, reply: Any) -> None:  # noqa: FBT001  # of one place
        now_s = time.monotonic()
        if not is_confirmed:
            self.unconfirmed += 1
        if self._unconfirmed_since is None:
            self._unconfirmed_since = now_s, self.unconfirmed - 1
            found = reply.words if isinstance(reply, Refusal) else f"{reply} of {self._replicas} replicas confirmed"
            logger.warning(
                "durability unknown at %s: %s within %d ms. What is written is on the primary, and lost if it is lost"
                " before a replica has it",
                self._masked_url,
                found,
                self._timeout_ms,
            )
        elif is_confirmed:
            (since_s, before), self._unconfirmed_since = self._unconfirmed_since, None
            logger.info(
                "replicas confirm again at %s after %.1f s; durability is unknown of %d batches",
                self._masked_url,
                now_s - since_s,
                self.unconfirmed - before,
            )


class Written(asyncio.Future[Any]):
    """The answer to a call that waits for replicas."""

    is_confirmed = True
    """Whether enough of them have what it wrote; once it is there."""


def _ignore(_: object) -> None:
    pass
