"""OpenAPI 3.1 of the API, from the table of its endpoints and their models."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from redisflow.dashboard.access.refusals import PROBLEM_TYPE
from redisflow.dashboard.api.answers import OpenApi, Problem
from redisflow.dashboard.api.bodies import Nothing
from redisflow.dashboard.api.endpoint import JSON_TYPE, Call, Endpoint
from redisflow.dashboard.api.events import STREAM_TYPE
from redisflow.dashboard.api.table import ENDPOINTS

_REF = "#/components/schemas/{model}"
_NAMED = re.compile(r"\{(\w+)\}")
_ALWAYS = (401, 403, 422, 503)
"""Problems that each endpoint may answer; those with a body 413 and 415 as well."""


async def get_openapi(_call: Call[Any, Any]) -> Any:
    """This description."""
    return describe()


OPENAPI = Endpoint(method="GET", path="/openapi.json", handler=get_openapi, answer=OpenApi)
ALL_ENDPOINTS: tuple[Endpoint, ...] = (*ENDPOINTS, OPENAPI)


@cache
def describe() -> dict[str, Any]:
    """The whole document."""
    schemas = _Schemas(ALL_ENDPOINTS)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ALL_ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "redisflow",
            "version": version("redisflow"),
            "summary": "Runs, queues, workers and schedules of one namespace.",
        },
        "servers": [{"url": ".", "description": "where this document is"}],
        "paths": paths,
        "components": {
            "schemas": schemas.definitions,
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{"basic": []}, {"bearer": []}, {}],
    }


class _Schemas:
    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        modes: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(Problem, "serialization"): None}
        for endpoint in endpoints:
            if endpoint.answer is not None:
                modes[endpoint.answer, "serialization"] = None
            if endpoint.body is not Nothing:
                modes[endpoint.body, "validation"] = None
        self._places, defined = models_json_schema(list(modes), ref_template=_REF)
        self.definitions: dict[str, Any] = defined.get("$defs", {})

    def of(self, model: type[BaseModel], mode: JsonSchemaMode) -> dict[str, Any]:
        """Where the schema of a model is."""
        return self._places[model, mode]


def _operation(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    description = inspect.getdoc(endpoint.handler) or ""
    operation: dict[str, Any] = {
        "operationId": getattr(endpoint.handler, "__name__", ""),
        "summary": description.partition("\n")[0],
        "description": f"{description}\n\nNeeds the role {endpoint.least_role.name.lower()}.",
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint, schemas),
    }
    if endpoint.body is not Nothing:
        is_needed = any(field.is_required() for field in endpoint.body.model_fields.values())
        content = {JSON_TYPE: {"schema": schemas.of(endpoint.body, "validation")}}
        operation["requestBody"] = {"required": is_needed, "content": content}
    return operation


def _parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _NAMED.findall(endpoint.path)
    ]
    schema = endpoint.params.model_json_schema(ref_template=_REF)
    found += [
        {"name": name, "in": "query", "required": False, "schema": each}
        for name, each in schema.get("properties", {}).items()
    ]
    if endpoint.streams:
        found.append({"name": "Last-Event-ID", "in": "header", "required": False, "schema": {"type": "string"}})
    return found


def _responses(endpoint: Endpoint, schemas: _Schemas) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status in endpoint.statuses:
        response: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        responses[str(status)] = response
        if endpoint.answer is not None:
            content: dict[str, Any] = {JSON_TYPE: {"schema": schemas.of(endpoint.answer, "serialization")}}
            if endpoint.streams:
                content[STREAM_TYPE] = {"schema": {"type": "string"}}
            response["content"] = content
    problems = {*_ALWAYS, *endpoint.problems, *((413, 415) if endpoint.method != "GET" else ())}
    for status in sorted(problems):
        content = {PROBLEM_TYPE: {"schema": schemas.of(Problem, "serialization")}}
        responses[str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
    return responses
