"""Durable workflows on the Redis that you already run."""

from redisflow.authoring.definition import WorkflowSpec, define_workflow_spec
from redisflow.authoring.options import StepOptions, define_step
from redisflow.authoring.starting import Debounce, StartRules, Throttle
from redisflow.authoring.step import RunInfo, Step
from redisflow.authoring.step_call import StepCall
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
    InvalidDuration,
    InvalidInput,
    InvalidName,
    InvalidSchedule,
    InvalidSignal,
    InvalidStart,
    InvalidWorkflow,
    MailboxFull,
    NonDeterminismError,
    NonRetryableError,
    NotAllowedInWorkflow,
    PayloadTooLarge,
    RedisflowError,
    ResultTimeout,
    RetryAfter,
    RunAlreadyActive,
    RunEnded,
    RunNotFound,
    ScheduleNotFound,
    StartThrottled,
    StepError,
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
from redisflow.retry import RetryPolicy
from redisflow.runs import StepRun, WorkflowRun
from redisflow.schedule import Schedule, ScheduleInfo
from redisflow.sync.facade import SyncFlow
from redisflow.sync.handle import SyncWorkflowHandle
from redisflow.worker.processes import WorkerProcesses
from redisflow.worker.worker import Worker

__version__ = "0.1.0"

__all__ = [
    "BackendError",
    "BackendUnavailable",
    "BackpressureError",
    "CalledInEventLoop",
    "CannotDecode",
    "CannotRecord",
    "DeadlineExceeded",
    "Debounce",
    "Failure",
    "IdempotencyConflict",
    "InvalidDuration",
    "InvalidInput",
    "InvalidName",
    "InvalidSchedule",
    "InvalidSignal",
    "InvalidStart",
    "InvalidWorkflow",
    "MailboxFull",
    "NonDeterminismError",
    "NonRetryableError",
    "NotAllowedInWorkflow",
    "PayloadTooLarge",
    "RedisFlow",
    "RedisflowError",
    "ResultTimeout",
    "RetryAfter",
    "RetryPolicy",
    "RunAlreadyActive",
    "RunEnded",
    "RunInfo",
    "RunNotFound",
    "Schedule",
    "ScheduleInfo",
    "ScheduleNotFound",
    "StartRules",
    "StartThrottled",
    "Step",
    "StepCall",
    "StepError",
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
    "WorkflowExpired",
    "WorkflowFailed",
    "WorkflowHandle",
    "WorkflowRun",
    "WorkflowSpec",
    "define_step",
    "define_workflow_spec",
]
