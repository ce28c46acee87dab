"""`redisflow run import`: runs that `redisflow run export` wrote, stored here. Each is judged on its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from redisflow.cli.exits import EXIT_CONFLICT, EXIT_FAILED
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import Document, note, write_line
from redisflow.cli.progress import progress
from redisflow.errors import (
    BackendUnavailable,
    BackpressureError,
    InvalidExport,
    RedisflowError,
    RunExists,
    RunStateConflict,
)
from redisflow.words import counted

if TYPE_CHECKING:
    from redisflow.flow import RedisFlow

LINE_BYTES: Final = 1 << 30
"""Of one run: 10,000 steps with results of 64 KiB."""
AT_ONCE: Final = 20
_AT_ONCE_BYTES: Final = 16 << 20
OUTCOMES: Final = ("imported", "existing", "refused", "invalid")
"""`existing`: it was imported before, or never left. `refused`: it has not ended, or another run has its id."""


@dataclass(frozen=True, slots=True)
class _Text:
    """A run of a file, not read yet."""

    line: int
    """Where it begins."""
    data: bytes
    problem: str | None = None


async def import_runs(
    file: Annotated[
        str,
        Parameter(
            allow_leading_hyphen=True,
            help="what `redisflow run export` wrote; - is standard input:"
            " `redisflow run export -w order -l 0 | redisflow run import - -n staging`",
        ),
    ],
    /,
    *,
    new_ids: Annotated[bool, Parameter(negative=(), help="under other ids, the same each time")] = False,
    dry_run: Annotated[bool, Parameter(negative=(), help="look at every run, and store nothing")] = False,
    given: Given = PLAIN,
) -> int:
    """Import finished runs that were exported elsewhere.

    Each is stored whole or not at all, and kept as long as if it had ended now. What is here already stays as it is, so
    the same file may be imported again. Exit code 5 where runs were refused, 1 where lines cannot be read.
    """
    outcomes: list[Document] = []
    counts: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
    try:
        with _opened(file) as source, progress("import") as tell:
            async with given.flow() as flow:
                for some in _batches(_split(source)):
                    calls = (_import(flow, each, new_ids, dry_run) for each in some)
                    done = await asyncio.gather(*calls, return_exceptions=True)
                    for outcome in done:
                        if not isinstance(outcome, BaseException):
                            counts[outcome["outcome"]] += 1
                            _tell_one(outcome, outcomes, given, is_dry=dry_run)
                    tell(sum(counts.values()))
                    if error := next((each for each in done if isinstance(each, BaseException)), None):
                        raise error
    finally:
        # What was done is told, also where the server went away in between.
        if given.out.form not in ("table", "id"):
            given.out.rows((), outcomes)
    _tell_all(counts, is_dry=dry_run)
    return EXIT_FAILED if counts["invalid"] else EXIT_CONFLICT if counts["refused"] else 0


async def _import(flow: RedisFlow, text: _Text, new_ids: bool, dry_run: bool) -> Document:  # noqa: FBT001  # two flags of the command
    outcome: Document = {"id": None, "exported_id": None, "line": text.line, "outcome": "invalid", "error": None}
    try:
        document = _parse(text)
        done = await flow.import_run(document, new_id=new_ids, dry_run=dry_run)
    except (RunExists, RunStateConflict) as error:
        return {**outcome, "id": error.run_id, "outcome": "refused", "error": _error(error)}
    except (BackendUnavailable, BackpressureError):
        raise  # it would be the same for all that follow
    except RedisflowError as error:
        return {**outcome, "error": _error(error)}
    return {**outcome, "id": done.id, "exported_id": done.exported_id, "outcome": OUTCOMES[not done.is_new]}


def _parse(text: _Text) -> Any:
    if text.problem is not None:
        raise InvalidExport(text.problem)
    try:
        return json.loads(text.data)
    except (ValueError, RecursionError) as error:
        msg = f"this is no JSON: {error}"
        raise InvalidExport(msg) from error


def _error(error: Exception) -> Document:
    return {"type": type(error).__name__, "message": str(error)}


# -- files ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(name: str) -> Generator[IO[bytes]]:
    if name == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115  # it is closed below
    except OSError as error:
        msg = f"{name} cannot be read: {error.strerror}"
        raise ValueError(msg) from error
    with file:
        yield file


def _split(source: IO[bytes]) -> Iterator[_Text]:
    """One run a line; or over several lines, from an opening brace alone to a closing one alone."""
    begun: list[bytes] = []
    size = first = number = 0
    while line := source.readline(LINE_BYTES + 1):
        number += 1
        size += len(line)
        if size > LINE_BYTES:
            while line and not line.endswith(b"\n"):
                line = source.readline(LINE_BYTES)
            yield _Text(first or number, b"", f"it has more than the {LINE_BYTES:,} bytes that a run may have here")
            # Where it ends cannot be told.
            if begun:
                return
            size = 0
        elif begun:
            begun.append(line)
            if line.rstrip() == b"}":
                yield _Text(first, b"".join(begun))
                begun, size, first = [], 0, 0
        elif line.strip() == b"{":
            begun, first = [line], number
        else:
            size = 0
            if line.strip():
                yield _Text(number, line)
    if begun:
        yield _Text(first, b"", "it has no end: the file was cut off")


def _batches(texts: Iterable[_Text]) -> Iterator[list[_Text]]:
    """Runs whose calls leave together."""
    some: list[_Text] = []
    size = 0
    for text in texts:
        some.append(text)
        size += len(text.data)
        if len(some) == AT_ONCE or size > _AT_ONCE_BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


# -- telling ----------------------------------------------------------------------------------------------------------


def _tell_one(outcome: Document, outcomes: list[Document], given: Given, *, is_dry: bool) -> None:
    if outcome["error"] is not None:
        note(f"redisflow: line {outcome['line']}: {outcome['error']['message']}")
    is_stored = outcome["outcome"] == "imported" and not is_dry
    if given.out.form in ("table", "id"):
        if is_stored:
            write_line(outcome["id"])
    else:
        outcomes.append(outcome)


def _tell_all(counts: dict[str, int], *, is_dry: bool) -> None:
    if not sum(counts.values()):
        note("import: there is no run in it")
        return
    words = {"existing": "here already", "refused": "refused", "invalid": "cannot be read"}
    rest = "".join(f", {counts[outcome]:,} {word}" for outcome, word in words.items() if counts[outcome])
    done = "would import" if is_dry else "imported"
    note(f"import: {done} {counted(counts['imported'], 'run')}{rest}")
