"""The contract between the engine and where runs are kept: values down, outcomes up."""

from redisflow.contract.backend import Backend, Heartbeat
from redisflow.contract.keys import KeyCalls
from redisflow.contract.listings import Listings, Order, RunFilter
from redisflow.contract.mail import Delivery, MailBatch, MailCalls
from redisflow.contract.outbox import OutboxCalls
from redisflow.contract.payloads import PayloadCalls
from redisflow.contract.retention import Purged, RetentionCalls
from redisflow.contract.schedules import DueSchedules, FireOutcome, ScheduleCalls, TriggerOutcome
from redisflow.contract.starts import (
    Active,
    DebounceRule,
    StartCalls,
    Started,
    StartRule,
    Throttled,
    ThrottleRule,
    UniqueRule,
)
from redisflow.contract.values import (
    Answer,
    Beat,
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
    "Active",
    "Answer",
    "Backend",
    "Beat",
    "Claim",
    "ClaimBatch",
    "Conflict",
    "Created",
    "DebounceRule",
    "Delivery",
    "DueSchedules",
    "Extension",
    "FireOutcome",
    "Heartbeat",
    "Hold",
    "Idempotency",
    "KeyCalls",
    "Listings",
    "MailBatch",
    "MailCalls",
    "Mark",
    "NewRun",
    "Order",
    "OutboxCalls",
    "PayloadCalls",
    "Purged",
    "RetentionCalls",
    "RunEnd",
    "RunFilter",
    "ScheduleCalls",
    "StartCalls",
    "StartRule",
    "Started",
    "ThrottleRule",
    "Throttled",
    "TriggerOutcome",
    "UniqueRule",
    "Upkeep",
    "Verdict",
]
