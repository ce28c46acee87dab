"""The contract between the engine and where runs are kept: values down, outcomes up."""

from redisflow.contract.audit import AuditCalls, ScanPlace
from redisflow.contract.backend import Backend, Heartbeat
from redisflow.contract.broadcasts import BroadcastCalls, Reached
from redisflow.contract.clock import Alarm, ClaimClock, ReadClock, RunClock
from redisflow.contract.durability import DurabilityCalls
from redisflow.contract.events import (
    EVENTS_KEPT,
    STATE_KEYS,
    Emission,
    EventBatch,
    EventCalls,
    NewEvent,
    StoredEvent,
)
from redisflow.contract.fleet import FleetCalls
from redisflow.contract.imports import EndedRun, ImportCalls, Imported, KnownEnd
from redisflow.contract.listings import Listings, Order, RunFilter
from redisflow.contract.mail import Delivery, MailBatch, MailCalls
from redisflow.contract.metrics import MetricCalls
from redisflow.contract.outbox import OutboxCalls
from redisflow.contract.payloads import PayloadCalls
from redisflow.contract.retention import Purged, RetentionCalls
from redisflow.contract.schedules import DueSchedules, FireOutcome, ScheduleCalls, TriggerOutcome
from redisflow.contract.server import ServerCalls
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
    NOTHING_SAID,
    About,
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
    Place,
    RunEnd,
    Saying,
    Upkeep,
    Verdict,
)

__all__ = [
    "EVENTS_KEPT",
    "NOTHING_SAID",
    "STATE_KEYS",
    "About",
    "Active",
    "Alarm",
    "Answer",
    "AuditCalls",
    "Backend",
    "Beat",
    "BroadcastCalls",
    "Claim",
    "ClaimBatch",
    "ClaimClock",
    "Conflict",
    "Created",
    "DebounceRule",
    "Delivery",
    "DueSchedules",
    "DurabilityCalls",
    "Emission",
    "EndedRun",
    "EventBatch",
    "EventCalls",
    "Extension",
    "FireOutcome",
    "FleetCalls",
    "Heartbeat",
    "Hold",
    "Idempotency",
    "ImportCalls",
    "Imported",
    "KnownEnd",
    "Listings",
    "MailBatch",
    "MailCalls",
    "Mark",
    "MetricCalls",
    "NewEvent",
    "NewRun",
    "Order",
    "OutboxCalls",
    "PayloadCalls",
    "Place",
    "Purged",
    "Reached",
    "ReadClock",
    "RetentionCalls",
    "RunClock",
    "RunEnd",
    "RunFilter",
    "Saying",
    "ScanPlace",
    "ScheduleCalls",
    "ServerCalls",
    "StartCalls",
    "StartRule",
    "Started",
    "StoredEvent",
    "ThrottleRule",
    "Throttled",
    "TriggerOutcome",
    "UniqueRule",
    "Upkeep",
    "Verdict",
]
