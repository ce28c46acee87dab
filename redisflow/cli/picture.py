"""A run as a person sees it in a terminal: what it is, what it did step by step, and why it failed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from redisflow.cli.find_runs import status_of
from redisflow.cli.output import STYLES, Document, Output, printable, took

MARKS = {"succeeded": "✔", "failed": "✘", "running": "▶", "waiting": "◷"}
NOT_FINISHED = "·"
KINDS = {"run": "", "sleep": "sleep ", "signal": "signal ", "child": "child ", "compensation": "undo "}
WIDTH = 24
"""Of the bar of a step, in characters."""
NARROW = 80
"""A narrower terminal has bars of half that width."""
NAMES_AT_LEAST, NAMES_AT_MOST = 12, 40
BESIDE = 24
"""Columns of a terminal that are left for what is said of a step."""
LONGEST = 2_000
"""Of a payload, in characters: `-o json` has the rest."""


def draw_run(run: Document, out: Output, width: int | None = None, *, with_payloads: bool = True) -> Text:
    """All of it, a line for each step with a bar that shows when it ran; where there is a width, steps are no wider."""
    lines = [_title(run), *_facts(run, out), Text(), *_steps(run, out, width)]
    if with_payloads:
        for name in ("input", "output"):
            if run[name] is not None:
                lines += [Text(), Text.assemble((f"{name} ", "dim"), _short(run[name]))]
    lines += _error(run["error"])
    return Text("\n").join(lines)


def _title(run: Document) -> Text:
    version = f" {run['version']}" if run["version"] else ""
    status = Text(status_of({**run, "cause": None}), STYLES.get(run["status"], ""))
    return Text.assemble((printable(run["workflow"]) + version, "bold"), "  ", status, "  ", (run["id"], "dim"))


def _facts(run: Document, out: Output) -> list[Text]:
    facts: list[str] = [f"queue {run['queue']}", f"created {out.when(run['created_at'])}"]
    if run["finished_at"]:
        facts.append(f"took {took(_seconds(run['created_at'], run['finished_at']))}")
    facts += [f"{name} {out.when(run[key])}" for name, key in _INSTANTS if run[key] and not run["finished_at"]]
    if run["imported_at"]:
        facts.append(f"imported {out.when(run['imported_at'])}")
    if run.get("worker"):
        facts.append(f"worker {run['worker']}")
    facts += [f"{name} {run[key]}" for name, key in _RELATIONS if run[key]]
    facts += [f"{name} {run[key]}" for name, key in (("attempt", "attempt"), ("claims", "claims")) if run[key] > 1]
    if run["crashes"]:
        facts.append(f"{run['crashes']} crashes in a row")
    facts += [f"{name}={value}" for name, value in run["tags"].items()]
    return [Text(printable(" · ".join(facts)), "dim")]


_INSTANTS = (("starts", "available_at"), ("deadline", "deadline_at"), ("to be taken up", "expires_at"))
_RELATIONS = (("child of", "parent"), ("from", "forked_from"), ("schedule", "schedule"), ("ending:", "ending"))


def _steps(run: Document, out: Output, width: int | None) -> list[Text]:
    if not run["steps"]:
        return [Text("no step yet" if not run["finished_at"] else "no steps", "dim")]
    begin = run["started_at"] or run["created_at"]
    end = run["finished_at"] or datetime.now(UTC).isoformat()
    names = [printable(KINDS.get(step["kind"], "") + step["key"]) for step in run["steps"]]
    bars = WIDTH if width is None or width >= NARROW else WIDTH // 2
    longest = max(map(len, names))
    if width is not None:
        longest = min(longest, NAMES_AT_MOST, max(NAMES_AT_LEAST, width - bars - BESIDE))
    lines = [
        _step(step, clipped(name, longest), _bar(step, begin, end, bars), out, has_ended=run["finished_at"] is not None)
        for step, name in zip(run["steps"], names, strict=True)
    ]
    for line in lines:
        if width is not None:
            line.truncate(width, overflow="ellipsis")
    return lines


def clipped(name: str, room: int) -> str:
    """Of exactly this length: with spaces behind it, or without its end."""
    return name.ljust(room) if len(name) <= room else f"{name[: room - 1]}…"


def _step(step: Document, name: str, bar: str, out: Output, *, has_ended: bool) -> Text:
    is_left = has_ended and step["status"] in {"running", "waiting"}
    style = "dim" if is_left else STYLES.get(step["status"], "")
    mark = NOT_FINISHED if is_left else MARKS.get(step["status"], NOT_FINISHED)
    says: list[str] = []
    if step["started_at"] and step["finished_at"]:
        says.append(took(_seconds(step["started_at"], step["finished_at"])))
    if step["attempt"] > 1:
        says.append(f"attempt {step['attempt']}")
    if step["status"] == "waiting" and step["next_attempt_at"] and not is_left:
        says.append(f"due {out.when(step['next_attempt_at'])}")
    if step["child_id"]:
        says.append(step["child_id"])
    if step["error"]:
        says.append(f"{step['error']['type']}: {step['error']['message'].partition(chr(10))[0]}"[:120])
    return Text.assemble((f"{mark} {name} ", style), (bar, style), " ", (printable(", ".join(says)), "dim"))


def _bar(step: Document, begin: str, end: str, width: int) -> str:
    whole = max(_seconds(begin, end), 0.001)
    if not step["started_at"]:
        return " " * width
    first = min(width - 1, max(0, int(_seconds(begin, step["started_at"]) / whole * width)))
    last = int(_seconds(begin, step["finished_at"] or end) / whole * width)
    return (" " * first + "━" * max(1, min(width, last) - first)).ljust(width)


def _error(error: Document | None) -> list[Text]:
    if error is None:
        return []
    lines = [
        Text(),
        Text.assemble((error["type"], "bold red"), ": ", "\n".join(map(printable, error["message"].splitlines()))),
    ]
    traceback = "\n".join(map(printable, error["traceback"].splitlines()))
    return [*lines, Text(traceback, "dim")] if traceback else lines


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=None)
    return printable(text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text):,} characters: -o json)")


def _seconds(begin: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
