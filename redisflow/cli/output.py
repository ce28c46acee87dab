"""How results are printed: tables for people, documents for programs. Results go to standard output, all else does not.

Where standard output is no terminal, a table is plain text with tabs between its columns.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from redisflow import words

Format: TypeAlias = Literal["table", "json", "jsonl", "yaml", "id"]
Document: TypeAlias = dict[str, Any]

STDOUT = "standard output"
_CONTROLS = {code: f"\\u{code:04x}" for code in range(0x7F, 0xA0)}
STYLES = {
    "succeeded": "green",
    "failed": "red",
    "canceled": "magenta",
    "running": "cyan",
    "waiting": "yellow",
    "pending": "blue",
}


@dataclass(frozen=True, slots=True)
class Column:
    """Of a table: its title, and its text for a document."""

    title: str
    text: Callable[[Document], str]
    right: bool = False
    may_shrink: bool = False
    """Where the terminal is narrow."""
    spare: int = 0
    """Where there is no room, the sparest column goes first: another one says it, too, or another command."""


@dataclass(frozen=True, slots=True)
class Output:
    """See the module."""

    form: Format
    utc: bool = False

    @property
    def is_json(self) -> bool:
        """Whether errors are JSON as well."""
        return self.form in {"json", "jsonl"}

    def rows(self, columns: Sequence[Column], documents: Sequence[Document]) -> None:
        """Several things of a kind. Their ids are what `-o id` prints."""
        match self.form:
            case "table":
                with about_file(STDOUT):
                    self._table(columns, documents)
            case "jsonl":
                for document in documents:
                    write_line(to_json(document))
            case "id":
                for document in documents:
                    write_line(document["id"])
            case _:
                self._document(list(documents))

    def one(self, document: Document, show: Callable[[], Any]) -> None:
        """One thing: `show` gives what rich prints for people, or text."""
        match self.form:
            case "table":
                shown = show()
                if isinstance(shown, str):
                    write_line("\n".join(map(printable, shown.splitlines())))
                else:
                    with about_file(STDOUT):
                        console().print(shown, soft_wrap=True)
            case "jsonl":
                write_line(to_json(document))
            case "id":
                write_line(document["id"])
            case _:
                self._document(document)

    def when(self, instant: str | None) -> str:
        """An instant of a document for people."""
        if instant is None:
            return ""
        if self.utc:
            return instant.replace("T", " ").partition(".")[0].rstrip("Z")
        return ago(datetime.fromisoformat(instant), datetime.now(UTC))

    def _document(self, document: Any) -> None:
        if self.form == "yaml":
            import yaml  # noqa: PLC0415  # few ask for it

            dumped: str = yaml.dump(document, Dumper=yaml.SafeDumper, sort_keys=False, allow_unicode=True)  # pyright: ignore[reportUnknownMemberType]  # its stubs leave types out
            write_line(dumped.rstrip("\n"))
        else:
            write_line(to_json(document, indent=2))

    def _table(self, columns: Sequence[Column], documents: Sequence[Document]) -> None:
        if not is_terminal():
            write_line("\t".join(column.title for column in columns))
            for document in documents:
                write_line("\t".join(printable(column.text(document)) for column in columns))
            return
        from rich.table import Table  # noqa: PLC0415  # not where it is no terminal
        from rich.text import Text  # noqa: PLC0415  # the same

        from redisflow.cli.fitting import fit_columns  # noqa: PLC0415  # the same

        texts = [[printable(column.text(document)) for document in documents] for column in columns]
        where = console()
        widths = fit_columns(columns, texts, where.width)
        table = Table(box=None, pad_edge=False, header_style="dim")
        for at, width in widths.items():
            side: Literal["left", "right"] = "right" if columns[at].right else "left"
            table.add_column(columns[at].title, justify=side, no_wrap=True, overflow="ellipsis", width=width)
        for row in zip(*(texts[at] for at in widths), strict=True):
            table.add_row(*(Text(text, STYLES.get(text.partition(" ")[0], "")) for text in row))
        where.print(table)
        if left_out := [column.title for at, column in enumerate(columns) if at not in widths]:
            note(f"not shown for want of width: {', '.join(left_out)} (-o json)")


def is_terminal() -> bool:
    """Whether a person reads what is printed."""
    return sys.stdout.isatty()


def console() -> Any:
    """Where people read; it knows the width, and whether colours are wanted (NO_COLOR, FORCE_COLOR)."""
    from rich.console import Console  # noqa: PLC0415  # 30 ms that documents do not need

    return Console(highlight=False, markup=False, emoji=False)


def write_line(text: str) -> None:
    """A line of results."""
    with about_file(STDOUT):
        sys.stdout.write(f"{text}\n")


def flush() -> None:
    """Whether all results could be written is known when they are out."""
    with about_file(STDOUT):
        sys.stdout.flush()


@contextlib.contextmanager
def about_file(name: str) -> Generator[None]:
    """Give its name to an error of the system that has none: those of writing do not say where to."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = name
        raise


def to_json(document: Any, *, indent: int | None = None) -> str:
    """As JSON, with the control characters escaped that JSON itself leaves as they are (a terminal may obey them)."""
    return json.dumps(document, ensure_ascii=False, indent=indent).translate(_CONTROLS)


def note(text: str) -> None:
    """A line for people beside the results."""
    sys.stderr.write(f"{printable(text)}\n")


def printable(text: str) -> str:
    """The text without what would move the cursor or colour the terminal: tags and errors are written by anybody."""
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def ago(instant: datetime, now: datetime) -> str:
    """How long ago, in one unit, or how far ahead, in two: `3 min ago`, `in 2 d 23 h`."""
    seconds = (now - instant).total_seconds()
    if abs(seconds) < 1:
        return "now"
    if seconds < 0:
        return f"in {took(-seconds)}"
    return f"{int(seconds)} s ago" if seconds < _TENTHS_S else f"{words.roughly(seconds)} ago"


def took(seconds: float) -> str:
    """A duration in its two largest units, in the words of the dashboard: `4.8 s`, `1 min 59 s`."""
    return words.took(seconds)


_TENTHS_S = 10
"""Below that durations have tenths of a second, which nobody wants of something that was."""
