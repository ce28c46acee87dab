"""When a run leaves a worker: its slots go to others, and one line is written in the log."""

from __future__ import annotations

import logging

from redisflow.contract import Answer, Claim, Verdict
from redisflow.engine.commands import Commit, Continue, Finish, Move, Park, Suspend

FIRST_OFFER_MS = 5_000
LAST_OFFER_MS = 300_000
"""A run that this worker has no code for, or other code, is offered again after so long: doubled each time, up to this.

Workers with other code may be there, or come without telling (another kind of worker, a restart of an older one).
"""
MOST_REMEMBERED = 10_000
"""Of how many suspended runs a worker knows that it has told of them."""
_log = logging.getLogger("redisflow.worker")
_WORDS: dict[type, str] = {Park: "parked", Continue: "continued", Suspend: "suspended"}


class EndLog:
    """The lines of one worker."""

    def __init__(self) -> None:
        """Nothing is said yet."""
        self._suspended: set[str] = set()

    def log_end(self, claim: Claim, then: Move, verdict: Verdict) -> None:
        """The holder's last commit was answered: the run was dropped, or what was to become of it came true."""
        run_id = claim.hold.run_id
        if verdict is not Verdict.OK:
            _log.info(
                "run.dropped %s of %s: what it did last was not recorded (%s)",
                run_id,
                claim.workflow,
                verdict.value,
                extra=fields_of(claim),
            )
            return
        if isinstance(then, Suspend):
            if self._is_news(run_id):
                _log.error("run.suspended %s of %s: %s", run_id, claim.workflow, then.message, extra=fields_of(claim))
            return
        if self._suspended:
            self._suspended.discard(run_id)
        if isinstance(then, Finish) and then.status == "failed":
            _log.warning(
                "run.failed %s of %s: `redisflow run show %s` says why",
                run_id,
                claim.workflow,
                run_id,
                extra=fields_of(claim),
            )
        elif _log.isEnabledFor(logging.DEBUG):
            _log.debug("run.%s", word_of(then, verdict), extra=fields_of(claim))

    def _is_news(self, run_id: str) -> bool:
        """A run that waits for code is offered again and again: its report is worth one line here."""
        if run_id in self._suspended:
            return False
        if len(self._suspended) >= MOST_REMEMBERED:
            self._suspended.clear()
        self._suspended.add(run_id)
        return True


def word_of(then: Move, verdict: Verdict) -> str:
    """How a run left a worker: see `Observer.run_left`."""
    if verdict is not Verdict.OK:
        return str(verdict.value)
    return then.status if isinstance(then, Finish) else _WORDS[type(then)]


def fields_of(claim: Claim) -> dict[str, str]:
    """What each line in the log about a run carries, under the names that events and metrics have, too."""
    return {"run_id": claim.hold.run_id, "workflow": claim.workflow}


def forget(answer: Answer[Verdict]) -> None:
    """What came of a call that gives a run back changes nothing here; where it failed, the lease ends by itself."""
    if not answer.cancelled():
        answer.exception()


def let_slots_go(commit: Commit) -> None:
    """With this commit a run with limits stops running, if the commit is applied."""
    commit.extension.effects = (*commit.extension.effects, "free")
