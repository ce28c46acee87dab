"""Safeguards of the engine, the worker, the client and the connections, each taken out."""

from __future__ import annotations

from tests.mutants.mutant import Mutant, mutant

_BACK = "        self._waiting.extendleft(reversed(self._unanswered()))\n"
_LOST = "        self._batches.clear()\n        if not"
_CLEAR = """\
        cleared = self._scripts.clear_outbox.call(prefix, [entry for entry, _ in entries])
        await self._transport.send(prefix, cleared)
"""

WORKERS: list[Mutant] = [
    mutant(
        "bodies start before what came before them is recorded",
        "S4",
        "redisflow/engine/execution.py",
        ("agenda.take_ready(ledger.acknowledged.records)", "agenda.take_ready(ledger.count)"),
    ),
    mutant(
        "a retry keeps the number of its attempt",
        "S8",
        "redisflow/engine/execution.py",
        ("call.attempt = attempt + 1", "call.attempt = attempt"),
    ),
    mutant(
        "a late answer counts for the attempt that runs now",
        "S8",
        "redisflow/engine/execution.py",
        ("if call is None or call.attempt != attempt or self._has_left:", "if call is None or self._has_left:"),
    ),
    mutant(
        "results are delivered in another order on replay",
        "promise 4",
        "redisflow/engine/execution.py",
        ("for number, record in history.deliverable)", "for number, record in reversed(history.deliverable))"),
    ),
    mutant(
        "workflow code sees after a crash what is not stored",
        "S21",
        "redisflow/engine/delivery.py",
        ("if self._is_cautious and number >= self._ledger.acknowledged.records:", "if False:"),
    ),
    mutant(
        "a lease that is over is not noticed",
        "S7",
        "redisflow/worker/leases.py",
        (
            "return now_s - held.renewed_s > self._give_up_s and now_s - self._renewed_s(held) > self._give_up_s",
            "return False",
        ),
    ),
    mutant(
        "the heartbeat renews no run",
        "A1",
        "redisflow/worker/leases.py",
        ("holds=lambda: [held.claim.hold for held in self._held()],", "holds=list,"),
    ),
    mutant(
        "a holder goes on when it is told that it holds no longer",
        "S7",
        "redisflow/worker/held_run.py",
        (
            "if verdict is Verdict.OK and isinstance(commit.then, GoOn):",
            "if verdict in {Verdict.OK, Verdict.FENCED, Verdict.ENDED} and isinstance(commit.then, GoOn):",
        ),
    ),
    mutant(
        "a stop hands nothing back",
        "A17",
        "redisflow/worker/worker.py",
        ("answers += [self._hand_back(held) for held in list(self._held.values())]", ""),
    ),
    mutant(
        "what is due later is due when the holder's own clock says",
        "R4",
        "redisflow/contract/clock.py",
        (
            "return self.server_ms + int((time.monotonic() - self.seen_s) * 1000)",
            "return int(time.time() * 1000)",
        ),
        ("return self.server_ms + int((now_s - self.seen_s) * 1000)", "return int(time.time() * 1000)"),
    ),
    mutant(
        "what a lost connection owes is not sent again",
        "D1",
        "redisflow/backend/link.py",
        (f"{_BACK}{_LOST}", _LOST),
    ),
    mutant(
        "what is sent again overtakes what came before it",
        "D1",
        "redisflow/backend/link.py",
        (f"{_BACK}{_LOST}", f"        self._waiting.extendleft(self._unanswered())\n{_LOST}"),
    ),
    mutant(
        "a script that the server has forgotten is a failure",
        "C3",
        "redisflow/backend/link.py",
        ('if code == "NOSCRIPT" and command[1] in self._texts:', 'if code == "NOSCRIPT" and not self._texts:'),
    ),
    mutant(
        "a server that loads its data ends a call",
        "C4",
        "redisflow/backend/wire.py",
        ('frozenset({"LOADING", ', "frozenset({"),
    ),
    mutant(
        "an effect in another partition is crossed off before it is there",
        "C11",
        "redisflow/backend/outbox.py",
        (
            "        outcomes = await asyncio.gather(",
            f"{_CLEAR}        outcomes = await asyncio.gather(",
        ),
    ),
    mutant(
        "timers are watched by nobody",
        "L1",
        "redisflow/worker/worker.py",
        ('            self._serve(f"timers-{partition}", partial(watch_forever, backend, partition, self.name))\n', ""),
    ),
]
