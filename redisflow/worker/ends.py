"""When a run leaves a worker: its slots go to others, and one line is written in the log."""

from __future__ import annotations

import logging

from redisflow.contract import Answer, Claim, Verdict
from redisflow.engine.commands import Commit, Continue, Finish, Move, Park, Suspend

_log = logging.getLogger("redisflow.worker")
_SAID: dict[type, str] = {Park: "parked", Continue: "continued"}


def log_end(claim: Claim, then: Move, verdict: Verdict) -> None:
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
    elif isinstance(then, Suspend):
        _log.error("run.suspended %s of %s: %s", run_id, claim.workflow, then.message, extra=fields_of(claim))
    elif isinstance(then, Finish) and then.status == "failed":
        _log.warning(
            "run.failed %s of %s: `(await flow.get_run(id)).error` says why",
            run_id,
            claim.workflow,
            extra=fields_of(claim),
        )
    elif _log.isEnabledFor(logging.DEBUG):
        _log.debug("run.%s", _SAID.get(type(then), "succeeded"), extra=fields_of(claim))


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
