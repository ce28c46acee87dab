"""A run as a server would keep it, in this process: its record, its mailbox, and what its commits did besides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from redisflow.contract import NOTHING_SAID, Claim, Hold, Mark, Place
from redisflow.engine.commands import Commit, Continue, Finish, GoOn, Park, Suspend
from redisflow.mail import ANY_CHILD, Mail, address_of
from redisflow.records import Record, decode_record

RunScript: TypeAlias = Callable[[str, list[str], list[Any]], tuple[str, bytes]]
"""From the key of a `step.redis`, its keys and arguments to what the server would say: succeeded and the reply as it is
recorded, or failed and why."""
Status: TypeAlias = Literal["pending", "running", "waiting", "succeeded", "failed", "canceled", "suspended"]


@dataclass(frozen=True, slots=True)
class Said:
    """An event, and where a body said it, the step's key and attempt."""

    kind: str
    data: bytes
    step: str | None = None
    attempt: int | None = None


@dataclass(slots=True)
class StoredRun:
    """See the module. It is changed by claims, commits and mail alone."""

    run_id: str
    workflow: str
    version: str | None
    input: bytes
    created_at_ms: int
    status: Status = "pending"
    started_at_ms: int | None = None
    due_at_ms: int | None = None
    payload: bytes = b""
    """The output, the failure, or why it is suspended."""
    records: list[bytes] = field(default_factory=list[bytes])
    mail: list[Mail] = field(default_factory=list[Mail])
    mail_count: int = 0
    waits: list[str] = field(default_factory=list[str])
    """Hashes of the names of the signals that it waits for: a broadcast of its own reaches it, too."""
    kids: dict[str, str] = field(default_factory=dict[str, str])
    """Children that are waited for, with what becomes of them if nobody waits."""
    crashes: int = 0
    claims: int = 0
    continued: int = 0
    size: int = 0
    """Bytes of its input and records."""
    wants: str = ""
    said: Place = NOTHING_SAID
    events: list[Said] = field(default_factory=list[Said])
    state: dict[str, bytes] = field(default_factory=dict[str, bytes])
    run_script: RunScript | None = None
    scripts_run: set[str] = field(default_factory=set[str])
    """Keys of each `step.redis` whose script has run."""
    sent: dict[str, tuple[str, str, bytes]] = field(default_factory=dict[str, tuple[str, str, bytes]])
    """Run id (empty for a broadcast), name and data of each signal that it has sent, by the key that makes it once."""

    def history(self) -> list[Record]:
        """Its record, read."""
        base_ms = self.created_at_ms if self.started_at_ms is None else self.started_at_ms
        return [decode_record(data, base_ms) for data in self.records]

    def claim(self, now_ms: int) -> Claim:
        """Give it to a worker."""
        if self.started_at_ms is None:
            self.started_at_ms = now_ms
            self.size = len(self.input)
        self.status, self.due_at_ms = "running", None
        self.claims += 1
        return Claim(
            hold=Hold(self.run_id, "default", f"{self.claims}:inline", "0:1-1"),
            workflow=self.workflow,
            version=self.version,
            input=self.input,
            created_at_ms=self.created_at_ms,
            started_at_ms=self.started_at_ms,
            deadline_at_ms=None,
            mark=Mark(len(self.records), self.size),
            records=list(self.records),
            crashes=self.crashes,
            mail=list(self.mail),
            mail_count=self.mail_count,
            continued=self.continued,
            said=self.said,
            waits=list(self.waits),
        )

    def apply(self, commit: Commit) -> bool:
        """Store a commit; whether the run is left by its holder. It is not parked where there is mail unseen."""
        extension, then = commit.extension, commit.then
        self.records.extend(extension.records)
        self.size = extension.after.bytes
        self.crashes = 0
        self._do_effects(list(extension.effects))
        if extension.saying is not None:
            self.said = extension.saying.up_to
            self.events += [Said(kind, data) for kind, data in extension.saying.events]
            self.state |= extension.saying.state
        match then:
            case GoOn():
                return False
            case Park():
                if commit.seen is not None and commit.seen < self.mail_count:
                    return False
                self.status, self.due_at_ms, self.wants = "waiting", then.due_at_ms, then.wants
            case Finish():
                self.status, self.payload = then.status, then.payload
            case Continue():
                self.records.clear()
                self.input, self.size, self.started_at_ms = then.input, len(then.input), None
                self.said = NOTHING_SAID
                self.status, self.due_at_ms, self.continued = "pending", 0, self.continued + 1
            case Suspend():
                self.status, self.payload = "suspended", then.problem
        return True

    def crash(self) -> None:
        """Its worker has died."""
        self.status, self.crashes = "pending", self.crashes + 1

    def post(self, mail: Mail) -> None:
        """Put an item into its mailbox, under the next number."""
        self.mail_count += 1
        self.mail.append(Mail(self.mail_count, mail.kind, mail.name, mail.status, mail.cause, mail.payload))
        address = ANY_CHILD if mail.kind == "child" else address_of(mail)
        if self.status == "waiting" and f"\n{address}\n" in self.wants:
            self.status = "pending"

    def end_child(self, child: str, status: str, payload: bytes) -> None:
        """A child has ended: its end is mail for this run, once."""
        if self.kids.pop(child, None) is not None:
            self.post(Mail(0, "child", child, status, "", payload))

    def waits_for_mail(self) -> list[str]:
        """Names of the signals, and ids of the children, that it is parked for."""
        wanted = [address for address in self.wants.split("\n") if address]
        return [address.partition(":")[2] or "the end of a child" for address in wanted]

    def _do_effects(self, effects: list[Any]) -> None:
        while effects:
            verb = effects.pop(0)
            if verb == "redis":
                self._run_script(effects)
                continue
            given = [effects.pop(0) for _ in range(_ARITIES[verb])]
            match verb:
                case "take":
                    self.mail = [mail for mail in self.mail if mail.number != given[0]]
                case "kid":
                    self.kids[given[0]] = given[1]
                case "drop":
                    self.kids.pop(given[0], None)
                case "wait":
                    self.waits.append(given[0])
                case "unwait":
                    self.waits.remove(given[0])
                case _:  # what only concerns others: parents, readers, watchers
                    pass

    def _run_script(self, effects: list[Any]) -> None:
        once, _script = effects.pop(0), effects.pop(0)
        keys = [effects.pop(0) for _ in range(effects.pop(0))]
        args = [effects.pop(0) for _ in range(effects.pop(0))]
        if once not in self.scripts_run and self.run_script is not None:
            self.scripts_run.add(once)
            status, payload = self.run_script(once, keys, args)
            self.post(Mail(0, "redis", once, status, "", payload))


_ARITIES: dict[str, int] = {
    "take": 1,
    "kid": 2,
    "drop": 1,
    "orphan": 0,
    "tell": 1,
    "wait": 1,
    "unwait": 1,
    "compensable": 0,
    "verdict": 1,
}
"""Of each effect, how many words follow its verb: see lua/lib/effect_*.lua."""
