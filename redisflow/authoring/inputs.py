"""Inputs of runs and data of signals, validated and encoded where they enter: before anything is stored."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from pydantic import ValidationError

from redisflow import codec
from redisflow.authoring.definition import WorkflowSpec
from redisflow.errors import CannotRecord, InvalidInput
from redisflow.payload import PayloadType
from redisflow.size_limit import check_size

In = TypeVar("In")

INPUT_LIMIT: Final = 1 << 20
"""Bytes, where there is no store for larger ones."""


SIGNAL_LIMIT: Final = 1 << 20
"""Bytes of a signal's data."""


def encode_input(spec: WorkflowSpec[In, Any], value: In, limit: int = INPUT_LIMIT) -> tuple[bytes, In]:
    """The input as stored, and as the workflow's type says; InvalidInput where it does not fit that type.

    PayloadTooLarge where it has more bytes than the limit.
    """
    try:
        validated = spec.input.validate(value)
        data = spec.input.encode(validated)
    except ValidationError as error:
        msg = f"the input of workflow {spec} does not fit its type: {_explain(error)}"
        raise InvalidInput(msg) from error
    except CannotRecord as error:
        msg = f"the input of workflow {spec} cannot be stored: {error}"
        raise InvalidInput(msg) from error
    check_size(data, limit, f"the input of workflow {spec}", is_storable=True)
    return data, validated


def encode_signal_data(name: str, data: Any) -> bytes:
    """The data as stored; InvalidInput where it cannot be."""
    try:
        payload = PayloadType.of(type(data)).encode(data) if _is_typed(data) else codec.encode(data)
    except CannotRecord as error:
        msg = f"the data of signal {name!r} cannot be stored: {error}"
        raise InvalidInput(msg) from error
    check_size(payload, SIGNAL_LIMIT, f"the data of signal {name!r}")
    return payload


def _explain(error: ValidationError) -> str:
    """What is wrong and where, without the values: they may be secrets."""
    problems = error.errors(include_input=False, include_url=False)
    shown = "; ".join(f"{'.'.join(map(str, p['loc'])) or 'input'}: {p['msg']}" for p in problems[:5])
    return shown + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")


def _is_typed(data: Any) -> bool:
    """A model, a dataclass or an enum says by its class how it is stored."""
    return type(data).__module__ != "builtins"
