"""The contract between the engine and where runs are kept: values down, outcomes up."""

from redisflow.contract.backend import Backend, Heartbeat
from redisflow.contract.values import (
    Answer,
    Claim,
    ClaimBatch,
    Conflict,
    Created,
    Extension,
    Hold,
    Idempotency,
    Mark,
    NewRun,
    RunEnd,
    Upkeep,
    Verdict,
)

__all__ = [
    "Answer",
    "Backend",
    "Claim",
    "ClaimBatch",
    "Conflict",
    "Created",
    "Extension",
    "Heartbeat",
    "Hold",
    "Idempotency",
    "Mark",
    "NewRun",
    "RunEnd",
    "Upkeep",
    "Verdict",
]
