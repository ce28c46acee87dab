"""The pass of a run's code over its record: which place each call takes among all calls, and what is recorded there.

Everything that this depends on is the same on every pass: the order of the calls, and the records that had been
delivered when each was made. A call that does not match what the record holds in its place is drift.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any

from redisflow.authoring.definition import CHILDREN_AT_MOST
from redisflow.authoring.step_port import RunInfo
from redisflow.contract import Claim
from redisflow.engine.calls import (
    Agenda,
    OpenCall,
    OpenCompensation,
)
from redisflow.engine.drift import asked_for_another, never_asked, without_marker
from redisflow.engine.history import NO_HISTORY, History, Recorded
from redisflow.engine.ledger import Ledger
from redisflow.engine.loop import WorkflowLoop
from redisflow.engine.mailbox import Mailbox
from redisflow.engine.waits import Waits
from redisflow.errors import HistoryTooLong, NonDeterminismError, NotAllowedInWorkflow
from redisflow.records import (
    NOTHING_DELIVERED,
    Call,
    CallKind,
    Patched,
)

if TYPE_CHECKING:
    from redisflow.authoring.definition import WorkflowDefinition
    from redisflow.engine.outcome import Surroundings

PATIENCE = 1_000
"""How often code that must not go on is told so before it is left waiting: it may catch what it is told, in a loop."""

_log = logging.getLogger("redisflow.workflow")


class Evicted(BaseException):
    """The run is leaving memory. It means nothing to anyone; workflow code that catches it gets it again."""


class Places:
    """What one pass knows, and how it finds the place of a call."""

    __slots__ = (
        "_around",
        "_claim",
        "_identity",
        "_info",
        "_loop",
        "_names",
        "_patches",
        "_random",
        "_refusals",
        "agenda",
        "at_ms",
        "begun",
        "calls",
        "definition",
        "delivered",
        "has_children",
        "has_drifted",
        "history",
        "is_evicted",
        "is_replaying",
        "ledger",
        "look_at",
        "mailbox",
        "matched",
        "problem",
        "slack_ms",
        "stack",
        "time_ms",
        "waits",
    )

    def __init__(
        self,
        definition: WorkflowDefinition[Any, Any],
        claim: Claim,
        around: Surroundings,
        loop: WorkflowLoop,
        slack_ms: int,
    ) -> None:
        """Nothing was asked yet. What few runs need is made when it is first used."""
        self.definition = definition
        self.ledger = Ledger(claim.mark, claim.started_at_ms, claim.said)
        self.agenda = Agenda()
        self.calls: dict[str, OpenCall] = {}
        self.history: History = NO_HISTORY
        self.mailbox: Mailbox | None = None
        """Once mail has come, or the code waits for some."""
        self.waits = Waits(claim.waits) if claim.waits else None
        """For which signals the run waits, if it ever did."""
        self.has_children = False
        """Whether the code has ever asked for a child run on this pass."""
        self.matched = 0
        """How many of the calls that the record holds have been made."""
        self.begun: int = 0
        """How many of all calls have been awaited, or given up before."""
        self.is_replaying = bool(claim.records)
        self.is_evicted = False
        self.problem: BaseException | None = None
        """Why this pass must not go on."""
        self.delivered = NOTHING_DELIVERED
        """Number of the last record that the code was given."""
        self.time_ms = claim.started_at_ms
        """The time of that record; never decreasing."""
        self.at_ms = claim.started_at_ms
        """Now, by the server's clock or a little before it: up to `slack_ms`."""
        self.slack_ms = slack_ms
        self.look_at = definition.look_at
        """At so many calls they are counted next."""
        self.stack: list[OpenCompensation] | None = None
        """Compensations, in the order in which they were asked for, if any were."""
        self._claim = claim
        run_id = claim.hold.run_id
        self._identity = f"{run_id}~{claim.continued}" if claim.continued else run_id
        """Of what this run does: another one each time that it is continued as new."""
        self._around = around
        self._loop = loop
        self._names: dict[str, int] = {}
        self._patches: dict[str, tuple[bool, Patched | None]] | None = None
        """Patches that were asked for, if any were: the answer, and the record where it is not stored yet."""
        self.has_drifted = False
        self._refusals = 0
        self._random: random.Random | None = None
        self._info: RunInfo | None = None

    def _claim_place(self, kind: CallKind, name: str) -> tuple[Call, Recorded | None]:
        if asyncio._get_running_loop() is not self._loop:  # noqa: SLF001  # see `_check_place`
            self._check_place(kind, name)
        if self.is_evicted or self.problem is not None:
            return self._refuse(name), None
        used = self._names.get(name, 0)
        self._names[name] = used + 1
        ordinal = len(self.calls)
        place = Call(name if used == 0 else f"{name}#{used}", ordinal, self.delivered)
        if ordinal >= self.look_at and place.key not in self.history.by_key:
            self._look_at_length(kind)
        if not self.history.by_key:
            return place, None
        recorded = self.history.by_key.get(place.key)
        if recorded is not None and recorded.kind == kind and recorded.call == place:
            self.matched += 1
            return place, recorded
        other = self.history.by_ordinal.get(place.ordinal) if recorded is None else recorded
        return (place, None) if other is None else self._drift(kind, place, other, recorded)

    def _check_place(self, kind: str, name: str) -> None:
        if asyncio._get_running_loop() is not self._loop and not self._loop.is_closed():  # noqa: SLF001  # documented
            msg = (
                f"step.{kind}({name!r}) was called outside its workflow's code (in a step's body, a thread, or after "
                "the run ended): a body speaks to its workflow by its return value alone"
            )
            raise NotAllowedInWorkflow(msg)

    def _refuse(self, name: str) -> Call:
        self._refusals += 1
        if self._refusals <= PATIENCE:
            raise Evicted
        return Call(name, -1, self.delivered)

    def _look_at_length(self, kind: CallKind) -> None:
        most, many = self.definition.max_steps, self.definition.warn_steps
        count = sum(call.kind != "child" for call in self.calls.values())
        children = len(self.calls) - count
        run_id = self._claim.hold.run_id
        if children >= CHILDREN_AT_MOST and kind == "child":
            msg = (
                f"run {run_id} has started {children:,} child runs, which is as many as one may have. Let each of its "
                "children start some of them, or let it begin anew: step.continue_as_new(input)"
            )
            raise HistoryTooLong(msg)
        if count >= most and kind != "child":
            msg = (
                f"run {run_id} has made {count} calls, which is as many as its history may have (max_steps of its "
                "workflow). Let it begin anew with what it still needs: step.continue_as_new(input)"
            )
            raise HistoryTooLong(msg)
        if count == many and kind != "child" and not self.is_replaying:
            _log.warning(
                "run %s has made %d calls: replaying them takes longer and longer, and at %d it fails. "
                "Let it begin anew now and then: step.continue_as_new(input)",
                run_id,
                count,
                most,
                extra=self.log_fields,
            )
        # As many calls must come at least before either is reached.
        left = min((many if count < many else most) - count, CHILDREN_AT_MOST - children)
        self.look_at = len(self.calls) + max(1, left)

    def idempotency_key(self, call: OpenCall) -> str:
        """The same on every attempt of this call, and another one once a failed workflow attempt has archived it."""
        key = f"{self._identity}:{call.key}"
        if restarts := self.history.restarts:
            epoch = sum(call.key == one.key or call.place.mark >= one.first for one in restarts)
            # No key ends like this: names may not end in # and digits, and repeated ones are numbered from 1.
            key = f"{key}#0{epoch}" if epoch else key
        return key

    # -- code that does not match its record ----------------------------------------------------------------------

    def _drift(self, kind: CallKind, place: Call, other: Recorded, recorded: Recorded | None) -> tuple[Call, Any]:
        is_fatal = not self.is_lenient or (recorded is not None and recorded.kind != kind)
        if is_fatal or not self.has_drifted:
            drift = asked_for_another(other, kind, place, self.history, self.calls.values(), self.unasked_patches)
            self.tolerate(drift, is_fatal=is_fatal)
        if is_fatal:
            raise Evicted from None
        if recorded is None:
            return place, None
        self.matched += 1
        return recorded.call, recorded

    @property
    def is_lenient(self) -> bool:
        """Whether code that does not match its record goes on where it can: see `tolerate`."""
        return self.definition.on_drift == "warn"

    def tolerate(self, drift: NonDeterminismError, *, is_fatal: bool = False) -> None:
        """Go on with code that does not match, and say so, once on each pass; or not, where that is not sound.

        Results are found by name and kind alone, wherever the code asks for them; what the record does not have runs,
        what the code does not ask for is passed over.
        """
        if is_fatal:
            self.problem = drift
        elif not self.has_drifted:
            self.has_drifted = True
            _log.warning("run.drift %s: %s", self._claim.hold.run_id, drift, extra=self.log_fields)

    @property
    def log_fields(self) -> dict[str, str]:
        """What each line about the run carries."""
        return {"run_id": self._claim.hold.run_id, "workflow": self._claim.workflow}

    @property
    def unasked_patches(self) -> list[str]:
        """Patches of the record that the code has not asked for so far."""
        return sorted(self.history.patches.difference(self._patches or ()))

    def absence(self, *, at_end: bool) -> NonDeterminismError | None:
        """What the record holds and the code has not asked for, as an error where that must not be.

        Lenient, it may still be to come before the code is `at_end`, and then be passed over unless others rest on it.
        """
        history = self.history
        if self.matched == len(history.by_key) and not history.patches:
            return None
        unknown = self.unasked_patches
        if self.matched == len(history.by_key) and not unknown:
            return None
        if self.is_lenient and not at_end:
            return None
        forgotten = [known for key, known in history.by_key.items() if key not in self.calls]
        grave = [known for known in forgotten if not self.is_lenient or known.kind in {"child", "compensation"}]
        if grave:
            return never_asked(grave[0], history, self.calls.values(), unknown)
        if forgotten and not self.has_drifted:
            self.tolerate(never_asked(forgotten[0], history, self.calls.values(), unknown))
        return without_marker(unknown[0]) if unknown else None

    # -- what the other side needs --------------------------------------------------------------------------------

    def open_mailbox(self) -> Mailbox:
        """The mailbox of the run: mail comes, or the code waits for some."""
        if self.mailbox is None:
            self.mailbox = Mailbox()
        return self.mailbox

    def move_to(self, loop: WorkflowLoop) -> None:
        """Who waits from now on waits there."""
        self._loop = loop

    @property
    def is_running(self) -> bool:
        """Whether it is workflow code that asks."""
        return asyncio._get_running_loop() is self._loop  # noqa: SLF001  # documented

    @property
    def has_left(self) -> bool:
        """Whether the run has left memory."""
        return self._loop.is_closed()

    def monotonic_ms(self) -> int:
        """Now, but never before anything that was recorded."""
        at_ms, time_ms = self.at_ms, self.time_ms
        return at_ms if at_ms > time_ms else time_ms  # noqa: FURB136  # max() is a call: one more for every step

    def has_begun(self, key: str) -> bool:
        """Whether the code has made this call, and waits for it or did."""
        call = self.calls.get(key)
        return call is not None and call.state not in {"asked", "kept"}

    def never_begun(self) -> list[str]:
        """Keys of calls that were made and not awaited."""
        if self.begun == len(self.calls):
            return []
        return [key for key, call in self.calls.items() if call.state == "asked"]

    def evict(self) -> None:
        """From here on everything is refused."""
        self.is_evicted = True
