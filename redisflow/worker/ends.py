"""When a run leaves a worker: one line in the log, with the same names as events and metrics."""

from __future__ import annotations

import logging

from redisflow.contract import Answer, Claim, Verdict
from redisflow.engine.commands import Continue, Finish, Move, Park, Suspend

_log = logging.getLogger("redisflow.worker")
_SAID: dict[type, str] = {Park: "parked", Continue: "continued"}


def log_end(claim: Claim, then: Move, verdict: Verdict) -> None:
    """The holder's last commit was answered: the run was dropped, or what was to become of it came true."""
    run_id = claim.hold.run_id
    if verdict is not Verdict.OK:
        _log.info("run.dropped (%s)", verdict.value, extra=_fields(claim))
    elif isinstance(then, Suspend):
        _log.error("run.suspended %s: %s", run_id, then.message, extra=_fields(claim))
    elif isinstance(then, Finish) and then.status == "failed":
        _log.warning("run.failed %s", run_id, extra=_fields(claim))
    elif _log.isEnabledFor(logging.DEBUG):
        _log.debug("run.%s", _SAID.get(type(then), "succeeded"), extra=_fields(claim))


def _fields(claim: Claim) -> dict[str, str]:
    return {"run_id": claim.hold.run_id, "workflow": claim.workflow}


def forget(answer: Answer[Verdict]) -> None:
    """What came of a call that gives a run back changes nothing here; where it failed, the lease ends by itself."""
    if not answer.cancelled():
        answer.exception()
