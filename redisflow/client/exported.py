"""Reading an exported run: each value is checked before anything is stored, since anybody may have written the file.

The hard thing is what no single value tells: whether the whole can be read as a run. So it is read as one here, in the
form in which it would be stored, by what shows runs.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, NoReturn, TypeGuard, TypeVar, cast

from redisflow import codec
from redisflow.client.export import FORMAT, INSTANTS, NUMBERS, TEXT
from redisflow.contract import EVENTS_KEPT, STATE_KEYS, EndedRun, Mark, StoredEvent
from redisflow.errors import CannotDecode, InvalidExport, InvalidName, RunStateConflict
from redisflow.names import MAX_NAME_LENGTH, check_name
from redisflow.records import CompensationAsked, Record, decode_record
from redisflow.run_history import view_history
from redisflow.run_id import check_run_id
from redisflow.run_views import view_run
from redisflow.runs import TERMINAL
from redisflow.tags import decode_tags, encode_tags

T = TypeVar("T")

RECORDS_AT_MOST: Final = 1_000_000
_EVENTS_AT_MOST: Final = 2 * EVENTS_KEPT
"""The server keeps somewhat more than it is told to."""
_AROUND_BYTES: Final = 256 * 1024
"""What a failure or a record may have besides the payload."""
_EVENT_BYTES: Final = 128 * 1024
_LAST_MS: Final = 10**15 - 1
_MANY: Final = 10**9
_EVENT_ID = re.compile(r"([0-9]{1,15})-([0-9]{1,18})")
_WHOLE, _TEXT = (int,), (str,)
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(("ordinal", "mark", "at_ms", "started_at_ms", "attempt"), _WHOLE),
    **dict.fromkeys(("due_at_ms", "archived_from"), (int, type(None))),
    **dict.fromkeys(("key", "run_id", "status", "cause", "name"), _TEXT),
    **dict.fromkeys(("payload",), (bytes,)),
    **dict.fromkeys(("timed_out", "alone"), (bool,)),
}
"""Of the values of records: what shows and replays them relies on it."""
_HASH = re.compile(r"[0-9a-f]{1,64}")
_LIMIT = r"[0-9a-f]{1,64}:[0-9]{1,10}:[0-9]{1,13}(@[0-9]{1,5})?"
_FORMS: Final = {
    "cause": re.compile(r"[a-z_]{1,32}"),
    "unique_key": _HASH,
    "fair_key": _HASH,
    "limits": re.compile(rf"{_LIMIT}( {_LIMIT}){{0,31}}"),
    "said": re.compile(r"-?[0-9]{1,9}:[0-9]{1,9}"),
}


def id_of(document: object) -> str:
    """The id of the run in a document; InvalidExport where it is none that this version reads."""
    if not _is_object(document):
        msg = f"this is no exported run, but {_kind(document)}: `flow.export_run` and `redisflow run export` give one"
        raise InvalidExport(msg)
    if document.get("format") != FORMAT:
        msg = f"its format is {_shown(document.get('format'))}, and this version of redisflow reads {FORMAT!r}"
        raise InvalidExport(msg)
    return _checked("id", document.get("id"), check_run_id)


def read_export(document: Mapping[str, Any], run_id: str, payload_limit: int) -> EndedRun:
    """The run in a document, to be stored under this id.

    InvalidExport with what is wrong, RunStateConflict where it had not ended.
    """
    given = _Given(document)
    status = given.text("status")
    if status.partition(":")[0] in {"pending", "running", "waiting"}:
        msg = (
            f"run {given.values.get('id')} was {status} when it was exported: only a run that has ended is imported,"
            " or its steps could be done twice, there and here; export it when it has ended, or replay it from its file"
        )
        raise RunStateConflict(msg, run_id, status.partition(":")[0])
    if status not in TERMINAL:
        _refuse("status", f"no status: {_shown(status)}")
    largest = payload_limit + _AROUND_BYTES
    outcome = given.data("output" if status == "succeeded" else "error", largest)
    if status == "succeeded" and outcome is None:
        _refuse("output", "not there, and the run succeeded")
    run = EndedRun(
        run_id=run_id,
        workflow=_checked("workflow", given.values.get("workflow"), lambda name: check_name("workflow", name)),
        status=cast("Any", status),
        created_at_ms=given.need("created_at_ms"),
        finished_at_ms=given.need("finished_at_ms"),
        queue=given.name("queue") or "default",
        tags=_tags(given.text("tags", "")),
        parent=given.run_id("parent"),
        input=given.need_data("input", payload_limit),
        outcome=outcome,
        records=given.each("records", RECORDS_AT_MOST, lambda what, each: _data(what, each, largest)),
        fields=_fields(given),
        events=_events(given),
        state=_state(given),
    )
    return _read_as_one(run)


class _Given:
    """The values of a document, each as it must be."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values

    def text(self, name: str, default: str | None = None) -> str:
        value = self.values.get(name, default)
        if not isinstance(value, str):
            _refuse(name, f"{_kind(value)}, not text")
        return value

    def name(self, name: str) -> str | None:
        if name not in self.values:
            return None
        return _checked(name, self.values[name], lambda value: check_name(name, value))

    def run_id(self, name: str) -> str | None:
        return None if name not in self.values else _checked(name, self.values[name], check_run_id)

    def number(self, name: str, most: int) -> int | None:
        value = self.values.get(name)
        if name not in self.values:
            return None
        if type(value) is not int or not 0 <= value <= most:
            _refuse(name, f"{_shown(value)}, not a whole number from 0 to {most}")
        return value

    def need(self, name: str) -> int:
        value = self.number(name, _LAST_MS)
        if value is None:
            _refuse(name, "not there")
        return value

    def data(self, name: str, limit: int) -> bytes | None:
        return None if name not in self.values else _data(name, self.values[name], limit)

    def need_data(self, name: str, limit: int) -> bytes:
        if name not in self.values:
            _refuse(name, "not there")
        return _data(name, self.values[name], limit)

    def each(self, name: str, most: int, read: Callable[[str, Any], T]) -> list[T]:
        many = self.values.get(name, [])
        if not _is_list(many):
            _refuse(name, f"{_kind(many)}, not a list")
        if len(many) > most:
            _refuse(name, f"a list of {len(many):,}, and {most:,} are the most")
        return [read(f"{name}[{number}]", each) for number, each in enumerate(many)]


def _fields(given: _Given) -> dict[str, str | int]:
    """The further fields of its hash, by their stored names."""
    found: dict[str, str | int | None] = {
        field: given.number(name, _LAST_MS) for field, name in INSTANTS.items() if field not in ("c", "t")
    }
    found |= {field: given.number(name, 9 if name == "priority" else _MANY) for field, name in NUMBERS.items()}
    names = {field: name for field, name in TEXT.items() if name in _FORMS and name in given.values}
    for field, name in names.items():
        found[field] = given.text(name)
        if _FORMS[name].fullmatch(given.text(name)) is None:
            _refuse(name, f"not what is stored there: {_shown(given.values[name])}")
    found |= {"v": given.name("version"), "sc": given.name("schedule"), "ff": given.run_id("forked_from")}
    claims = given.number("claims", _MANY)
    if claims is not None or "started_at_ms" in given.values:
        found["f"] = f"{claims or 0}:-"
    return {field: value for field, value in found.items() if value is not None}


def _tags(stored: str) -> str:
    try:
        is_stored = not stored or encode_tags(decode_tags(stored)) == stored
    except ValueError:
        is_stored = False
    if not is_stored:
        _refuse("tags", "not what is stored of tags")
    return stored


def _events(given: _Given) -> list[StoredEvent]:
    last = (0, 0)

    def read(what: str, value: Any) -> StoredEvent:
        nonlocal last
        if not _is_object(value):
            _refuse(what, f"{_kind(value)}, not an event")
        event = _Given(value)
        event_id, step = event.text("id"), event.values.get("step")
        found = _EVENT_ID.fullmatch(event_id)
        place = (int(found[1]), int(found[2])) if found else (0, 0)
        if place <= last:
            _refuse(what, f"after another one, and its id is {_shown(event_id)}")
        last = place
        kind = _short(f"{what}.kind", event.text("kind"))
        data = _decodable(f"{what}.data", event.need_data("data", _EVENT_BYTES))
        if step is None:
            return StoredEvent(event_id, kind, data, None, None)
        return StoredEvent(event_id, kind, data, _short(f"{what}.step", step), event.number("attempt", _MANY) or 1)

    return given.each("events", _EVENTS_AT_MOST, read)


def _state(given: _Given) -> dict[str, bytes]:
    state = given.values.get("state", {})
    if not _is_object(state):
        _refuse("state", f"{_kind(state)}, not values by key")
    if len(state) > STATE_KEYS:
        _refuse("state", f"{len(state):,} values, and {STATE_KEYS} are the most")
    return {
        _short("state", key): _decodable(f"state[{_shown(key)}]", _data("state", value, _EVENT_BYTES))
        for key, value in state.items()
    }


def _read_as_one(run: EndedRun) -> EndedRun:
    """The run, if it can be read in the form in which it will be stored."""
    mark = Mark(len(run.records), len(run.input) + sum(map(len, run.records)))
    known = {"w": run.workflow, "s": run.status, "c": run.created_at_ms, "t": run.finished_at_ms, "h": mark}
    fields = {name.encode(): str(value).encode() for name, value in {**known, **run.fields}.items()}
    fields |= {b"i": run.input, **{b"%d" % number: record for number, record in enumerate(run.records)}}
    if run.outcome is not None:
        fields[b"o" if run.status == "succeeded" else b"er"] = run.outcome
    try:
        view_run(run.run_id, fields)
        view_history(run.run_id, fields)
        base_ms = int(run.fields.get("a", run.created_at_ms))
        records = [decode_record(record, base_ms) for record in run.records]
    except (CannotDecode, RecursionError) as error:
        msg = f"it cannot be read as a run: {error}"
        raise InvalidExport(msg) from error
    for number, record in enumerate(records):
        _check_record(number, record)
    if any(isinstance(record, CompensationAsked) for record in records):
        return replace(run, fields={**run.fields, "cp": "1"})
    return run


def _check_record(number: int, record: Record) -> None:
    values = {name: getattr(record, name) for name in record.__dataclass_fields__}
    call = values.pop("call", None)
    if call is not None:
        values |= {"key": call.key, "ordinal": call.ordinal, "mark": call.mark}
    for name, value in values.items():
        if name in _KINDS and type(value) not in _KINDS[name]:
            _refuse(f"records[{number}]", f"wrong: its {name} is {_shown(value)}")
        if isinstance(value, str) and not (value.isprintable() and len(value) <= 2 * MAX_NAME_LENGTH):
            _refuse(f"records[{number}]", f"wrong: its {name} is no name: {_shown(value)}")


def _data(what: str, value: object, limit: int) -> bytes:
    # Four characters stand for three bytes: what is too long is not decoded first.
    if not isinstance(value, str):
        _refuse(what, f"{_kind(value)}, not text (base64)")
    if len(value) > limit // 3 * 4 + 8:
        _refuse(what, f"longer than the {limit:,} bytes that it may have here")
    try:
        data = b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        _refuse(what, "not base64")
    if data.startswith(codec.SEALED_MARK):
        _refuse(what, "sealed (encrypted, compressed or in a store): export it through an app that can open it")
    return data


def _decodable(what: str, data: bytes) -> bytes:
    try:
        codec.decode(data)
    except (CannotDecode, RecursionError):
        _refuse(what, "nothing that redisflow has encoded")
    return data


def _short(what: str, text: object) -> str:
    """What names an event, a value or a step."""
    if not isinstance(text, str) or not text.isprintable() or not 0 < len(text.encode()) <= 2 * MAX_NAME_LENGTH:
        _refuse(what, f"no name: {_shown(text)}")
    return text


def _checked(name: str, value: object, check: Callable[[object], str]) -> str:
    try:
        return check(value)
    except InvalidName as error:
        _refuse(name, f"wrong: {error}")


def _refuse(name: str, what: str) -> NoReturn:
    msg = f"its {name!r} is {what}"
    raise InvalidExport(msg) from None


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether it is an object of JSON."""
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "..."
