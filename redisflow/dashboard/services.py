"""What pages and the API of one dashboard work with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from redisflow.dashboard.access.redact import Redact, Redactor
from redisflow.dashboard.access.roles import Auth
from redisflow.dashboard.actions import Actions
from redisflow.dashboard.bulk_jobs import BulkJobs
from redisflow.dashboard.streams import LONGEST_S, Streams
from redisflow.dashboard.switching import Namespaces
from redisflow.flow import RedisFlow


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardOptions:
    """How a dashboard is to be."""

    auth: Auth | None = field(default=None, repr=False)
    """Who a request comes from. None: everybody may do everything, which is for loopback."""
    read_only: bool = False
    """Nothing is changed through it."""
    redact: Redact | None = field(default=None, repr=False)
    """What of payloads is shown."""
    allowed_hosts: Sequence[str] = ()
    """Names by which it may be called, besides those of loopback: `dashboard.example.com`, `*.example.com`, `*`."""
    trust_prefix: bool = False
    """Believe `X-Forwarded-Prefix`: where a proxy takes off a prefix, and lets nobody else say one."""
    namespaces: Namespaces | None = None
    """Those that are shown beside each other. None: its flow's alone."""
    body_limit: int = 4 << 20
    """Bytes of a request of the API."""
    max_streams: int = 100
    """Event streams that are open at once."""
    longest_s: float = LONGEST_S
    """How long one of them lasts."""

    def __post_init__(self) -> None:
        """TypeError where `auth` is nothing that can be asked. It is not shown: it may hold secrets."""
        if self.auth is not None and not callable(self.auth):
            msg = (
                "auth is BasicAuth, BearerAuth or a callable, or None, with which everybody may do everything; "
                f"not a {type(self.auth).__name__}"
            )
            raise TypeError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Of one dashboard; `close` it with the application."""

    flow: RedisFlow
    actions: Actions
    bulk_jobs: BulkJobs
    redact: Redactor
    streams: Streams
    read_only: bool
    options: DashboardOptions

    @classmethod
    def of(cls, flow: RedisFlow, options: DashboardOptions | None = None) -> Services:
        """For this flow."""
        chosen = options or DashboardOptions()
        actions = Actions(flow, chosen.read_only)
        return cls(
            flow=flow,
            actions=actions,
            bulk_jobs=BulkJobs(actions),
            redact=Redactor(chosen.redact),
            streams=Streams(chosen.max_streams),
            read_only=chosen.read_only,
            options=chosen,
        )

    async def close(self) -> None:
        """End what goes on in the background. The flow is its owner's to close."""
        await self.bulk_jobs.close()
