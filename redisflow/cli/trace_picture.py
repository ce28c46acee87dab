"""A run and its children as bars over time, in characters. Long idle stretches are drawn short: `‖ 23 h ‖`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import itemgetter

from rich.text import Text

from redisflow.cli.output import STYLES, printable, took
from redisflow.cli.picture import KINDS, MARKS, NAMES_AT_MOST, NOT_FINISHED, clipped
from redisflow.client.family import Family
from redisflow.runs import StepRun, WorkflowRun
from redisflow.timeline import Bar, Row, Timeline, draw_timeline

LINES = {"waiting": "╌", "queued": "┄"}
PLAIN = {"succeeded": "=", "failed": "x", "running": ">", "waiting": ".", "queued": "-", "canceled": "~"}
"""Where there are neither colours nor lines."""
INDENT = "  "
ERROR_AT_MOST = 100
MESSAGE_STYLE = "dim"


def draw_trace(family: Family, now: datetime, width: int, *, plain: bool) -> Text:
    """All of it; `width` is that of the bars, in characters, and `plain` means without lines."""
    return Text("\n").join(_Picture(family, now, width, plain).run(family.root, ""))


@dataclass(frozen=True, slots=True)
class _Picture:
    family: Family
    now: datetime
    width: int
    is_plain: bool

    def run(self, run: WorkflowRun, indent: str) -> list[Text]:
        timeline = draw_timeline(run, self.now)
        names = [_name(row.step) for row in timeline.rows]
        room = min(NAMES_AT_MOST, max(map(len, ["run", *names]), default=0))
        lines = [_title(run, indent, self.now)]
        if timeline.ticks or timeline.gaps:
            lines.append(self._axis(timeline, indent + " " * (room + 4)))
        lines.append(self._line(f"{indent}  {'run'.ljust(room)}  ", MESSAGE_STYLE, timeline.run, ""))
        for row, name in zip(timeline.rows, names, strict=True):
            lines += self._step(row, name, room, indent)
        return lines

    def _step(self, row: Row, name: str, room: int, indent: str) -> list[Text]:
        step = row.step
        style = "dim" if row.is_left else STYLES.get(step.status, "")
        mark = NOT_FINISHED if row.is_left else MARKS.get(step.status, NOT_FINISHED)
        lines = [self._line(f"{indent}{mark} {clipped(name, room)}  ", style, row.bars, _says(row, self.now))]
        if len(step.attempts) > 1:
            lines += [Text(f"{indent}{INDENT * 2}{each}", MESSAGE_STYLE) for each in _attempts(step)]
        if step.child_id is not None:
            child = self.family.runs.get(step.child_id)
            if child is None:
                why = self.family.why_not(step.child_id)
                lines.append(Text(f"{indent}{INDENT * 2}run {step.child_id} ({why})", MESSAGE_STYLE))
            else:
                lines += self.run(child, indent + INDENT * 2)
        return lines

    def _line(self, head: str, style: str, bars: Sequence[Bar], says: str) -> Text:
        cells = [(" ", "")] * self.width
        # What was done goes over what was waited for: an attempt may be shorter than a character.
        for bar in sorted(bars, key=lambda bar: bar.state not in LINES):
            first = min(self.width - 1, int(bar.left * self.width / 100))
            last = max(first + 1, round((bar.left + bar.width) * self.width / 100))
            for at in range(first, min(self.width, last)):
                cells[at] = self._cell(bar.state)
        pieces = [("".join(text for text, _ in some), style) for style, some in groupby(cells, itemgetter(1))]
        line = Text.assemble((head, style), *pieces, (f" {says}", MESSAGE_STYLE))
        line.rstrip()
        return line

    def _cell(self, state: str) -> tuple[str, str]:
        return (PLAIN[state] if self.is_plain else LINES.get(state, "━"), STYLES.get(state, "dim"))

    def _axis(self, timeline: Timeline, head: str) -> Text:
        """The breaks first: they are what must be read."""
        cells = [" "] * self.width
        labels = [(gap.at, f"‖ {gap.label} ‖") for gap in timeline.gaps]
        labels += [(tick.at, tick.label) for tick in timeline.ticks]
        for at, label in labels:
            first = max(0, min(self.width - len(label), round(at * self.width / 100) - len(label) // 2))
            beside = cells[max(0, first - 1) : first + len(label) + 1]
            if len(label) <= self.width and not "".join(beside).strip():
                cells[first : first + len(label)] = label
        return Text(head + "".join(cells).rstrip(), MESSAGE_STYLE)


def _name(step: StepRun) -> str:
    return printable(KINDS.get(step.kind, "") + step.key)


def _title(run: WorkflowRun, indent: str, now: datetime) -> Text:
    version = f" {run.version}" if run.version else ""
    status = f"{run.status} ({run.waiting_for})" if run.waiting_for else run.status
    long_s = ((run.finished_at or now) - run.created_at).total_seconds()
    return Text.assemble(
        indent,
        (printable(run.workflow + version), "bold"),
        "  ",
        (status, STYLES.get(run.status, "")),
        ("  " + ("took " if run.is_finished else "for ") + took(max(0.0, long_s)), "dim"),
        (f"  {run.id}", "dim"),
    )


def _says(row: Row, now: datetime) -> str:
    step = row.step
    says: list[str] = []
    if step.started_at and step.finished_at:
        began = step.attempts[0].started_at if step.attempts else step.started_at
        says.append(took((step.finished_at - began).total_seconds()))
    if step.attempt > 1:
        says.append(f"{step.attempt} attempts")
    if step.status == "waiting" and step.next_attempt_at and not row.is_left:
        says.append(f"due in {took(max(0.0, (step.next_attempt_at - now).total_seconds()))}")
    if row.is_left:
        says.append("not finished")
    if step.error is not None and len(step.attempts) <= 1:
        says.append(_short(f"{step.error.error_type}: {step.error.message}"))
    return printable(", ".join(says))


def _attempts(step: StepRun) -> list[str]:
    found: list[str] = []
    for each in step.attempts:
        took_text = took((each.finished_at - each.started_at).total_seconds())
        ended = "succeeded" if each.error is None else _short(f"{each.error.error_type}: {each.error.message}")
        found.append(printable(f"attempt {each.attempt}, {took_text}: {ended}"))
    return found


def _short(text: str) -> str:
    return text.partition("\n")[0][:ERROR_AT_MOST]
