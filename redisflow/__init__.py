"""Durable workflows on the Redis that you already run."""

from redisflow.authoring.definition import WorkflowSpec, define_workflow_spec
from redisflow.authoring.options import StepOptions, define_step
from redisflow.authoring.starting import Debounce, StartRules, Throttle
from redisflow.authoring.step import RunInfo, Step
from redisflow.authoring.step_call import StepCall
from redisflow.client.bulk import Bulk, BulkJob, BulkOutcome, BulkProgress
from redisflow.client.controls import Control, Controls
from redisflow.client.handle import WorkflowHandle
from redisflow.client.workflow import Workflow
from redisflow.errors import (
    BackendError,
    BackendUnavailable,
    BackpressureError,
    CalledInEventLoop,
    CannotDecode,
    CannotRecord,
    DeadlineExceeded,
    IdempotencyConflict,
    InvalidCursor,
    InvalidDuration,
    InvalidInput,
    InvalidName,
    InvalidSignal,
    InvalidStart,
    InvalidTags,
    InvalidWorkflow,
    MailboxFull,
    NonDeterminismError,
    NonRetryableError,
    NotAllowedInWorkflow,
    NotPaused,
    PayloadTooLarge,
    RedisflowError,
    ResultTimeout,
    RetryAfter,
    RunAlreadyActive,
    RunEnded,
    RunNotFinished,
    RunNotFound,
    RunStateConflict,
    StartThrottled,
    StepError,
    StepNotFound,
    StepTimeout,
    UnknownWorkflow,
    UnsuitableServer,
    WorkerProcessFailed,
    WorkflowCanceled,
    WorkflowExpired,
    WorkflowFailed,
)
from redisflow.failure import Failure
from redisflow.flow import RedisFlow
from redisflow.retention import Retention
from redisflow.retry import RetryPolicy
from redisflow.runs import StepRun, WorkflowRun
from redisflow.summaries import RunCounts, RunPage, RunSummary, WorkflowCounts
from redisflow.sync.facade import SyncFlow
from redisflow.sync.handle import SyncWorkflowHandle
from redisflow.worker.processes import WorkerProcesses
from redisflow.worker.worker import Worker

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "BackendUnavailable",
    "BackpressureError",
    "Bulk",
    "BulkJob",
    "BulkOutcome",
    "BulkProgress",
    "CalledInEventLoop",
    "CannotDecode",
    "CannotRecord",
    "Control",
    "Controls",
    "DeadlineExceeded",
    "Debounce",
    "Failure",
    "IdempotencyConflict",
    "InvalidCursor",
    "InvalidDuration",
    "InvalidInput",
    "InvalidName",
    "InvalidSignal",
    "InvalidStart",
    "InvalidTags",
    "InvalidWorkflow",
    "MailboxFull",
    "NonDeterminismError",
    "NonRetryableError",
    "NotAllowedInWorkflow",
    "NotPaused",
    "PayloadTooLarge",
    "RedisFlow",
    "RedisflowError",
    "ResultTimeout",
    "Retention",
    "RetryAfter",
    "RetryPolicy",
    "RunAlreadyActive",
    "RunCounts",
    "RunEnded",
    "RunInfo",
    "RunNotFinished",
    "RunNotFound",
    "RunPage",
    "RunStateConflict",
    "RunSummary",
    "StartRules",
    "StartThrottled",
    "Step",
    "StepCall",
    "StepError",
    "StepNotFound",
    "StepOptions",
    "StepRun",
    "StepTimeout",
    "SyncFlow",
    "SyncWorkflowHandle",
    "Throttle",
    "UnknownWorkflow",
    "UnsuitableServer",
    "Worker",
    "WorkerProcessFailed",
    "WorkerProcesses",
    "Workflow",
    "WorkflowCanceled",
    "WorkflowCounts",
    "WorkflowExpired",
    "WorkflowFailed",
    "WorkflowHandle",
    "WorkflowRun",
    "WorkflowSpec",
    "define_step",
    "define_workflow_spec",
]
