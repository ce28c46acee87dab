r"""The filter bar's language: `workflow:order status:failed tag:customer=c1 created>1h`, and back to text.

    workflow:NAME   version:NAME   order:oldest
    status:failed   status:waiting:signal     several: any of them
    tag:NAME=VALUE                            several: all of them
    created>1h      created<2026-11-01        `>` is later than, `<` earlier; `1h` is so long ago, a date is UTC
    finished>1h     finished<30m
    id:RUN          or the bare id: that run, and nothing else

A value with spaces stands in double quotes, in which `\"` is a quote and `\\` a backslash.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any, Final, cast

from redisflow.client.finding import FindOptions, RunQuery
from redisflow.contract import Order
from redisflow.durations import read_instant
from redisflow.errors import InvalidName
from redisflow.run_id import check_run_id

LONGEST: Final = 4000
"""Characters of a filter."""

_PART: Final = re.compile(r"([a-z]+)([:<>])(.*)", re.DOTALL)
_INSTANTS: Final = {
    "created>": "created_after",
    "created<": "created_before",
    "finished>": "finished_after",
    "finished<": "finished_before",
}
_KEYS: Final = ("workflow:", "version:", "status:", "tag:", "id:", "order:", *_INSTANTS)
_NEEDS_QUOTES: Final = re.compile(r'[\s"\\]')


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which runs are wanted, as it was said: instants stay text, so that `1h` is an hour before each look."""

    workflow: str | None = None
    version: str | None = None
    statuses: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    created_after: str | None = None
    created_before: str | None = None
    finished_after: str | None = None
    finished_before: str | None = None
    order: Order = "newest"
    id: str | None = None
    """One run: then nothing else is said."""

    @classmethod
    def parse(cls, text: str) -> Query:
        """From text; ValueError says what is wrong, and at which character."""
        if len(text) > LONGEST:
            msg = f"a filter has at most {LONGEST:,} characters, not {len(text):,}"
            raise ValueError(msg)
        query = cls()
        for at, part in _split(text):
            try:
                query = _with_part(query, part)
                query.find_options()
            except ValueError as error:
                msg = f"at character {at + 1}, {_shown(part)}: {error}"
                raise ValueError(msg) from None
        return query

    def to_text(self) -> str:
        """As `parse` reads it."""
        return " ".join(text for text, _ in self._parts())

    def chips(self) -> list[tuple[str, str]]:
        """Each part with the text of the filter without it."""
        return [(text, without.to_text()) for text, without in self._parts()]

    def with_status(self, *statuses: str) -> Query:
        """The same with these statuses, and no other; ValueError where one is none."""
        changed = replace(self, statuses=tuple(dict.fromkeys(statuses)), id=None)
        changed.find_options()
        return changed

    def find_options(self) -> RunQuery:
        """For `flow.list_runs(**...)` and `flow.list_page(**...)`, without `id`; ValueError where it makes no sense."""
        options: dict[str, object] = {"order": self.order} if self.order != "newest" else {}
        if self.workflow is not None:
            options["workflow"] = self.workflow
        if self.version is not None:
            options["version"] = self.version
        if self.statuses:
            options["status"] = self.statuses
        if self.tags:
            options["tags"] = dict(self.tags)
        for name in _INSTANTS.values():
            text: str | None = getattr(self, name)
            if text is not None:
                options[name] = read_instant(text, UTC)
        found = cast("RunQuery", options)
        FindOptions(**found).filter()
        return found

    def _parts(self) -> Iterator[tuple[str, Query]]:
        """Each part as text, and the query without it."""
        if self.id is not None:
            yield _part("id:", self.id), replace(self, id=None)
        if self.workflow is not None:
            yield _part("workflow:", self.workflow), replace(self, workflow=None)
        if self.version is not None:
            yield _part("version:", self.version), replace(self, version=None)
        for status in self.statuses:
            yield _part("status:", status), replace(self, statuses=tuple(s for s in self.statuses if s != status))
        for tag in self.tags:
            yield _part("tag:", "=".join(tag)), replace(self, tags=tuple(t for t in self.tags if t != tag))
        for key, name in _INSTANTS.items():
            text: str | None = getattr(self, name)
            if text is not None:
                yield _part(key, text), _with_field(self, name, None)
        if self.order != "newest":
            yield _part("order:", self.order), replace(self, order="newest")


def _with_part(query: Query, part: str) -> Query:
    found = _PART.fullmatch(part)
    if found is None:
        return _with_id(query, part)
    key, value = found[1] + found[2], found[3]
    if key not in _KEYS:
        msg = f"this is nothing that can be asked for: write {', '.join(_KEYS)}"
        raise ValueError(msg)
    if not value:
        msg = "a value is missing"
        raise ValueError(msg)
    if query.id is not None:
        msg = "id: names one run, so it stands alone"
        raise ValueError(msg)
    match key:
        case "id:":
            return _with_id(query, value)
        case "status:":
            return replace(query, statuses=tuple(dict.fromkeys((*query.statuses, value))))
        case "tag:":
            return _with_tag(query, value)
        case "order:":
            return _with_field(query, "order", value)
        case _:
            return _once(query, _INSTANTS.get(key, key[:-1]), value)


def _with_id(query: Query, text: str) -> Query:
    try:
        run_id = check_run_id(text)
    except InvalidName:
        named = _part("workflow:", text if len(text) <= 80 else "NAME")
        msg = f"this is neither a run id nor one of {', '.join(_KEYS)}; the runs of a workflow are {named}"
        raise ValueError(msg) from None
    if query != Query():
        msg = "id: names one run, so it stands alone"
        raise ValueError(msg)
    return Query(id=run_id)


def _with_tag(query: Query, text: str) -> Query:
    name, is_pair, value = text.partition("=")
    if not is_pair:
        msg = "a tag is written tag:NAME=VALUE"
        raise ValueError(msg)
    if dict(query.tags).get(name, value) != value:
        msg = f"tag {name!r} cannot have two values"
        raise ValueError(msg)
    return replace(query, tags=tuple(dict.fromkeys((*query.tags, (name, value)))))


def _once(query: Query, name: str, value: str) -> Query:
    if getattr(query, name) not in {None, value}:
        msg = "it is said twice"
        raise ValueError(msg)
    return _with_field(query, name, value)


def _with_field(query: Query, name: str, value: str | None) -> Query:
    change: dict[str, Any] = {name: value}
    return replace(query, **change)


def _part(key: str, value: str) -> str:
    if _NEEDS_QUOTES.search(value) is None:
        return key + value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{key}"{escaped}"'


def _split(text: str) -> Iterator[tuple[int, str]]:
    """The parts with where they begin, their quotes taken off; ValueError where a quote is not closed."""
    part: list[str] = []
    start, quoted_at, position = 0, None, 0
    is_part = False
    while position < len(text):
        sign = text[position]
        if quoted_at is not None and sign == "\\" and text[position + 1 : position + 2] in {'"', "\\"}:
            position += 1
            part.append(text[position])
        elif sign == '"':
            quoted_at = position if quoted_at is None else None
        elif quoted_at is None and sign.isspace():
            if is_part:
                yield start, "".join(part)
            part, is_part = [], False
            position += 1
            continue
        else:
            part.append(sign)
        if not is_part:
            start, is_part = position, True
        position += 1
    if quoted_at is not None:
        msg = f"at character {quoted_at + 1}: this quote is not closed"
        raise ValueError(msg)
    if is_part:
        yield start, "".join(part)


def _shown(part: str) -> str:
    return repr(part if len(part) <= 80 else part[:80] + "...")
