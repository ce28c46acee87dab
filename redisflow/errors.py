"""Every error that redisflow raises, as one tree.

A message says what happened, to which run, and what to do next.

    RedisflowError
    ├── InvalidName                 a namespace, queue, workflow, version, step or run id
    ├── InvalidDuration             a duration or an instant
    ├── InvalidTags                 tags that a run cannot have
    ├── InvalidCursor               a cursor that list_page did not give, or gave for another list
    ├── InvalidInput                an input that does not fit the workflow's type
    ├── InvalidStart                options of a start that contradict each other
    ├── InvalidWorkflow             a workflow, step or flow that cannot be registered, called or served so
    ├── InvalidExport               a document that is no exported run, or that cannot be imported
    ├── InvalidSchedule             a cron expression, an interval, a time zone or a policy that makes no schedule
    ├── ScheduleNotFound
    ├── InvalidLimit                a limit, a rate, a priority, or what their key gives
    ├── UnknownWorkflow             no such workflow is declared here
    ├── CannotRecord                a value that could not be read back as what it is
    │   └── PayloadTooLarge
    ├── CannotDecode                stored bytes that are not what the type says
    │   ├── CannotUnseal            ... or that cannot be opened here: no such key, changed, not there
    │   └── RunDamaged              ... because somebody or something else has written to the key of a run
    ├── InvalidSignal               what a signal brought does not fit the type that the run waits for
    ├── InvalidScript               a script for step.redis that is too large, or keys or arguments that it cannot have
    ├── RedisScriptFailed           a script that step.redis ran raised an error, or its reply cannot be recorded
    ├── NonRetryableError           raised by user code: do not try again
    │   ├── HistoryTooLong          a run made more calls than its history may have, or has no room for a result
    │   └── NestedTooDeep           a child run of a child run of ... too many
    ├── RetryAfter                  raised by user code: try again after this delay
    ├── StepError                   a step failed for good (its retries are spent)
    │   ├── StepTimeout             ... because its last attempt took too long
    │   └── ChildFailed             a child run failed
    │       ├── ChildTimedOut       ... because it did not end within its timeout
    │       └── ChildCanceled       ... because it was canceled
    ├── NotAllowedInWorkflow        workflow code waited for something that is not a step
    ├── CalledInEventLoop           flow.sync was called where it would stop an event loop
    ├── NonDeterminismError         replay does not match the record
    ├── RunNotFound
    ├── RunExists                   another run of this id is stored, so this one was not imported
    ├── RunEnded                    the run has ended, so it cannot be told anything any more
    ├── MailboxFull                 a run that does not read its signals: this one was refused
    ├── RunNotFinished              only a finished run can be deleted
    ├── StepNotFound                a run's record holds no (ended) step of this name
    ├── RunStateConflict            the run's status does not allow what was asked
    ├── NotPaused                   a release of a queue or workflow that is not paused
    ├── StateFull                   a run that keeps too many values to be read from outside
    ├── IdempotencyConflict         the key was used with another input
    ├── RunAlreadyActive            the unique key's run has not ended, and the start was to be rejected then
    ├── StartThrottled              too many starts, and this one was to be rejected then
    ├── WorkflowFailed              result() of a run that failed
    │   └── DeadlineExceeded
    ├── WorkflowCanceled            result() of a run that was canceled
    │   └── WorkflowExpired         ... because no worker took it up in time
    ├── ResultTimeout               result(timeout=...) ran out; the run goes on
    ├── WorkerProcessFailed         a worker process ended before it worked
    ├── MissingExtra                something asked for needs a library that is not installed
    └── BackendError                Redis said no, or nothing
        ├── BackendUnavailable      not reachable, loading, fail-over: try again later
        │   └── PayloadStoreUnavailable     the store of large payloads cannot be used now
        ├── BackpressureError       out of memory, or too many runs wait: new work is refused, running work goes on
        ├── RecordGone              the record with which a fork was to begin is not stored any more
        ├── NamespaceNotFound       nobody has opened the namespace there yet
        └── UnsuitableServer        too old, or an eviction policy that deletes runs
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from redisflow.failure import Failure


class RedisflowError(Exception):
    """The root: catch this to catch all that redisflow raises."""


class InvalidName(RedisflowError, ValueError):
    """A name or an id that breaks the rules that its message states."""


class InvalidDuration(RedisflowError, ValueError):
    """A duration or an instant that cannot be understood."""


class InvalidTags(RedisflowError, ValueError):
    """Tags that a run cannot have; the message says what to change."""


class InvalidCursor(RedisflowError, ValueError):
    """A cursor that `list_page` did not give, or gave for a list with other filters."""


class InvalidInput(RedisflowError, ValueError):
    """A workflow's input that does not fit its declared type; nothing was stored."""


class InvalidStart(RedisflowError, ValueError):
    """Options of a start that cannot be meant, or contradict each other; nothing was stored."""


class InvalidWorkflow(RedisflowError, TypeError):
    """A function that cannot serve as a workflow or step, one registered twice, a flow that cannot be served."""


class InvalidExport(RedisflowError, ValueError):
    """A document that is no exported run, or is damaged, or cannot be imported here; nothing was stored."""


class InvalidSchedule(RedisflowError, ValueError):
    """A schedule that has no ticks, or policies that nobody knows; nothing was stored."""


class ScheduleNotFound(RedisflowError, LookupError):
    """No schedule of this id is stored."""


class InvalidLimit(RedisflowError, ValueError):
    """A limit, a rate or a priority that cannot be meant, or a key of one that failed on an input."""


class UnknownWorkflow(RedisflowError, LookupError):
    """No workflow of this name (and version) is declared in this process."""


class CannotRecord(RedisflowError, TypeError):
    """A value that could not be read back as what it is; the message says what to write."""


class PayloadTooLarge(CannotRecord):
    """An input, a result or an error over its limit."""


class CannotDecode(RedisflowError, ValueError):
    """Stored bytes that are not what the declared type says."""


class InvalidScript(RedisflowError, ValueError):
    """A script, keys or arguments that `step.redis` cannot take; the message says what to change."""


class RedisScriptFailed(RedisflowError):
    """A script that `step.redis` ran raised an error: what it wrote before stays."""


class InvalidSignal(RedisflowError, ValueError):
    """A signal's data that does not fit; the waiting workflow is told so by a StepError with this as its type."""


class CannotUnseal(CannotDecode):
    """A sealed payload that cannot be opened here; the message names the run, the field and the key, never the data."""


class RunDamaged(CannotDecode):
    """The key of a run holds what redisflow does not write there. That does not pass by itself; an audit says where."""

    def __init__(self, run_id: str, why: str) -> None:
        """`why` is what its reader met first."""
        self.run_id = run_id
        super().__init__(
            f"run {run_id} cannot be read, its key is damaged: {why}. `redisflow audit`, or `await flow.audit()`,"
            " says where"
        )


class NonRetryableError(RedisflowError):
    """Raise it in a step (or a workflow) to fail without another attempt."""


class HistoryTooLong(NonRetryableError):
    """A run has made as many calls as its history may have (`max_steps`), or its record is full (32 MiB).

    What a step returned, a child ended with or a signal brought is then not recorded. Let it continue as new before.
    """


class NestedTooDeep(NonRetryableError):
    """A child run 16 levels below the first: as a rule, a workflow that starts itself."""


class RetryAfter(RedisflowError):
    """Raise it in a step to choose when the next attempt is made; it still counts as an attempt."""

    def __init__(self, delay: object, message: str = "") -> None:
        """`delay` is a duration: a timedelta, seconds, or text such as "30s"."""
        self.delay = delay
        super().__init__(message or f"try again after {delay}")


class StepError(RedisflowError):
    """A step failed for good. The same on the first pass and on every replay; `__cause__` is always None."""

    def __init__(self, step: str, attempts: int, failure: Failure) -> None:
        """`step` is its key, `failure` the last attempt's error as data."""
        self.step = step
        self.attempts = attempts
        self.failure = failure
        super().__init__(f"step {step!r} failed after {attempts} attempt(s): {failure.error_type}: {failure.message}")

    @property
    def error_type(self) -> str:
        """The qualified name of the exception's class, e.g. `ValueError` or `shop.errors.CardDeclined`."""
        return self.failure.error_type

    @property
    def message(self) -> str:
        """What the exception said."""
        return self.failure.message

    @property
    def traceback(self) -> str:
        """The traceback of the last attempt, as text."""
        return self.failure.traceback


class StepTimeout(StepError):
    """A step whose last attempt ran longer than its `timeout`."""


class ChildFailed(StepError):
    """A child run failed: `run_id` is the child's, `failure` what it failed with. The same on every pass."""

    def __init__(self, step: str, run_id: str, failure: Failure) -> None:
        """`step` is the key of the call that started it."""
        super().__init__(step, 1, failure)
        self.run_id = run_id
        self.args = (f"child run {run_id} of step {step!r} failed: {failure.error_type}: {failure.message}",)


class ChildTimedOut(ChildFailed):
    """A child run that did not end within the `timeout` that its parent gave it."""


class ChildCanceled(ChildFailed):
    """A child run that was canceled before it ended."""


class NotAllowedInWorkflow(RedisflowError, RuntimeError):
    """Workflow code did something that only a step may do; the message names the line and what to use."""


class CalledInEventLoop(RedisflowError, RuntimeError):
    """A call of `flow.sync` in a thread that runs an event loop; the message says what to await instead."""


class NonDeterminismError(RedisflowError):
    """The code asked for other steps than the record holds; the run waits, suspended, and nothing is lost."""


class RunNotFound(RedisflowError, LookupError):
    """No run with this id is stored in this namespace."""


class RunEnded(RedisflowError):
    """The run has ended: nothing can be sent to it any more."""


class MailboxFull(RedisflowError):
    """The run's mailbox holds as many signals as it may; nothing was stored, so it can be sent again."""


class RunExists(RedisflowError):
    """A run was to be imported, and another one of its id is stored; nothing was changed."""

    def __init__(self, run_id: str, status: str) -> None:
        """`status` is that of the run that is stored."""
        self.run_id = run_id
        self.status = status
        super().__init__(
            f"another run of the id {run_id} is stored ({status}): it was left alone; import this one under a new id"
            " (new_id=True, --new-ids), or delete the other first"
        )


class RunNotFinished(RedisflowError):
    """The run goes on, so it cannot be deleted: cancel it first."""

    def __init__(self, run_id: str, status: str) -> None:
        """`status` is what it is doing."""
        self.run_id = run_id
        self.status = status
        super().__init__(
            f"run {run_id} is {status} and was not deleted: wait for its end, or cancel it first (handle.cancel())"
        )


class StepNotFound(RedisflowError, LookupError):
    """The record of this run holds no step of this name, or none that has ended."""


class RunStateConflict(RedisflowError):
    """What was asked cannot be done to a run in its state; nothing was changed."""

    def __init__(self, message: str, run_id: str, status: str) -> None:
        """`status` is what was found."""
        self.run_id = run_id
        self.status = status
        super().__init__(message)


class NotPaused(RedisflowError, LookupError):
    """This queue or workflow is not paused, so there is nothing to be let go."""


class StateFull(RedisflowError):
    """The state of a run has as many keys as it may; the value was not set."""

    def __init__(self, run_id: str, key: str, most: int) -> None:
        """`most` is how many keys a state may have."""
        super().__init__(
            f"the state of run {run_id} has {most} keys, so {key!r} was not set: keep what belongs together in one "
            "value, and what grows in events (step.emit)"
        )


class IdempotencyConflict(RedisflowError):
    """This idempotency key already started a run with another input."""

    def __init__(self, message: str, run_id: str) -> None:
        """`run_id` is the run that holds the key."""
        self.run_id = run_id
        super().__init__(message)


class RunAlreadyActive(RedisflowError):
    """A run with this unique key has not ended, and `on_conflict="reject"`."""

    def __init__(self, message: str, run_id: str) -> None:
        """`run_id` is the run that has the key."""
        self.run_id = run_id
        super().__init__(message)


class StartThrottled(RedisflowError):
    """The window of this key's starts is full, and `on_excess="reject"`."""

    def __init__(self, message: str, run_id: str, free_at: datetime) -> None:
        """`run_id` is the last run in the window, `free_at` when there is room again."""
        self.run_id = run_id
        self.free_at = free_at
        super().__init__(message)


class WorkflowFailed(RedisflowError):
    """The run failed; `failure` says with which error."""

    def __init__(self, run_id: str, workflow: str, failure: Failure) -> None:
        """`failure` is the error as data: nothing is imported by name."""
        self.run_id = run_id
        self.workflow = workflow
        self.failure = failure
        super().__init__(f"run {run_id} of {workflow!r} failed: {failure.error_type}: {failure.message}")


class DeadlineExceeded(WorkflowFailed):
    """The run did not end before its deadline."""


class WorkflowCanceled(RedisflowError):
    """The run was canceled."""

    def __init__(self, run_id: str, workflow: str, cause: str = "canceled") -> None:
        """`cause` is `canceled`, `replaced` (by a newer run with its unique key) or `expired`."""
        self.run_id = run_id
        self.workflow = workflow
        self.cause = cause
        super().__init__(f"run {run_id} of {workflow!r} {_HOW_CANCELED.get(cause, 'was canceled')}")


class WorkflowExpired(WorkflowCanceled):
    """No worker had taken the run up by its `expires_at`."""


_HOW_CANCELED = {
    "expired": "was canceled: no worker had taken it up by its expires_at",
    "replaced": "was canceled: a newer run with its unique key took its place",
}


class ResultTimeout(RedisflowError, TimeoutError):
    """The time to wait for a result is over; the run itself goes on."""


class WorkerProcessFailed(RedisflowError):
    """One of several worker processes ended before it worked; it said why on its standard error."""

    def __init__(self, pid: int, exit_code: int) -> None:
        """`exit_code` is minus the signal where one ended it; `redisflow worker` ends with 3 where Redis is away."""
        self.pid = pid
        self.exit_code = exit_code
        how = f"exit code {exit_code}" if exit_code >= 0 else f"signal {-exit_code}"
        super().__init__(f"worker process {pid} ended with {how} before it worked: see what it wrote to stderr")


class MissingExtra(RedisflowError, ImportError):
    """What was asked for needs a library that is not installed; the message names the extra."""


class BackendError(RedisflowError):
    """Redis refused a call, or gave no answer."""


class BackendUnavailable(BackendError):
    """Redis is not reachable, loading, or failing over.

    Every call may be made again. Whether this one was done is not known: what starts or sends something needs an
    idempotency key for it not to be done twice.
    """


class PayloadStoreUnavailable(BackendUnavailable):
    """The store of large payloads cannot be used now. Every call may be made again."""


class BackpressureError(BackendError):
    """Redis is out of memory, or as many runs wait as `max_pending` allows: new work is refused, running goes on."""


class RecordGone(BackendError):
    """A fork's record, which was put aside, was not there when its run was to be created: nothing was stored."""


class NamespaceNotFound(BackendError):
    """Nobody has opened the namespace there yet, and `RedisFlow(partitions=None)` does not create it."""


class UnsuitableServer(BackendError):
    """A server that redisflow must not run on: too old, or one that evicts keys."""
