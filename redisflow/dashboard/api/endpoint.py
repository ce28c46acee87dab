"""An endpoint: what is sent, what comes back, and what stands in between. Routes and OpenAPI are both made of these."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from redisflow.dashboard.access.refusals import log_refusal
from redisflow.dashboard.access.roles import NEEDS, Action, Identity, NotPermitted, Role
from redisflow.dashboard.api.bodies import Body, Nothing
from redisflow.dashboard.api.params import NoParams, Params
from redisflow.dashboard.api.problems import problem_of
from redisflow.dashboard.services import Services
from redisflow.errors import InvalidName
from redisflow.names import check_name, check_text
from redisflow.run_id import check_run_id

P = TypeVar("P", bound=Params)
B = TypeVar("B", bound=Body)
Method: TypeAlias = Literal["GET", "POST", "DELETE"]
JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[P, B]):
    """One request, checked."""

    services: Services
    identity: Identity
    request: Request
    name: str
    """What the path names: a run's id, a queue, ...; empty where it names nothing."""
    params: P
    body: B

    @property
    def base(self) -> str:
        """The path of the API, with the prefix under which the dashboard is mounted."""
        base: str = self.request.scope.get("root_path", "")
        return base


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered, where it is not just a document with 200."""

    document: Any
    status: int = 200
    headers: Mapping[str, str] | None = None


Handler: TypeAlias = Callable[[Call[Any, Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method of one path."""

    method: Method
    path: str
    """Below `/api/v1`; it names one thing at most, in braces."""
    handler: Handler
    """Answers a document, a `Reply`, or a `Response`. Its docstring is the description."""
    answer: type[BaseModel] | None
    """What the document is; None where there is none (204)."""
    params: type[Params] = NoParams
    body: type[Body] = Nothing
    action: Action | None = None
    """For which the least role is asked; None: it reads."""
    statuses: tuple[int, ...] = (200,)
    """With which it answers when all is well."""
    problems: tuple[int, ...] = ()
    """Beside those that all have."""
    streams: bool = False
    """Whether it answers `text/event-stream`, where that is asked for."""

    @property
    def least_role(self) -> Role:
        """Who may call it."""
        return Role.VIEWER if self.action is None else NEEDS[self.action]

    async def respond(self, services: Services, request: Request) -> Response:
        """Check, do, answer; whatever goes wrong is a problem document."""
        try:
            return _response(await self.handler(await self._check(services, request)))
        except Exception as error:  # noqa: BLE001  # each is answered, and what nobody foresaw is logged
            return problem_of(error)

    async def _check(self, services: Services, request: Request) -> Call[Any, Any]:
        identity: Identity = request.state.identity
        if identity.role < self.least_role:
            msg = f"this needs the role {self.least_role.name.lower()}, and {identity.name} has less"
            log_refusal(request.scope, 403, msg)
            raise NotPermitted(msg)
        return Call(
            services=services,
            identity=identity,
            request=request,
            name=_name_in(request),
            params=self.params.read(request.query_params),
            body=await self._read_body(request, services.options.body_limit),
        )

    async def _read_body(self, request: Request, limit: int) -> Body:
        if self.method == "GET":
            return Nothing()
        data = await _read(request, limit)
        if not data:
            return self.body.model_validate({})
        sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if sent != JSON_TYPE:
            raise HTTPException(415, f"a body is {JSON_TYPE}")
        return self.body.model_validate_json(data)


_CHECKS: Mapping[str, Callable[[str], str]] = {
    "run_id": check_run_id,
    "job_id": lambda name: name,
    "worker": lambda name: name,
    "schedule": lambda name: check_name("schedule", name),
    "queue": lambda name: check_name("queue", name),
    "signal": lambda name: check_text("signal", name),
    "workflow": lambda name: check_name("workflow", name),
}
"""What the path may name. What cannot be such a name names nothing that is there."""


def _name_in(request: Request) -> str:
    for kind, name in request.path_params.items():
        try:
            return _CHECKS[kind](name)
        except InvalidName as error:
            raise HTTPException(404, str(error)) from None
    return ""


async def _read(request: Request, limit: int) -> bytes:
    """The body; HTTPException 413 before more than the limit is held."""
    too_large = HTTPException(413, f"a request has at most {limit:,} bytes")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > limit:
        raise too_large
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise too_large
        parts.append(part)
    return b"".join(parts)


def _response(answer: Any) -> Response:
    if isinstance(answer, Response):
        return answer
    reply = answer if isinstance(answer, Reply) else Reply(answer)
    if reply.document is None:
        return Response(status_code=204, headers=reply.headers)
    # Every character that is not ASCII is escaped, so that also what UTF-8 cannot hold is said.
    return Response(json.dumps(reply.document), reply.status, reply.headers, JSON_TYPE)
