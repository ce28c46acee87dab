"""What the library says to those who write Python, in the words of the command line."""

from __future__ import annotations

import re
from collections.abc import Callable

OPTIONS = {
    "available_at": "--at",
    "deadline_at": "--deadline",
    "every": "--every",
    "idempotency_key": "--key",
    "most": "--limit",
    "timeout": "--timeout",
    "unique_key": "--unique",
}
"""Arguments whose options have other names, or are not seen to be options."""


def _option(found: re.Match[str]) -> str:
    return OPTIONS[found[1]]


_PHRASES: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"^(created|finished)_(after|before)(?=: )"), r"--\1-\2"),
    (re.compile(rf"^({'|'.join(OPTIONS)})(?=: | is )"), _option),
    (re.compile(r"(?<=the one of )(idempotency_key|unique_key)"), _option),
    (re.compile(r"say which \(version=\.\.\.\); where its code is elsewhere, give a spec$"), "say which: --version"),
    (re.compile(r"give from_step=\.\.\. or steps=\{\.\.\.\}, or use rerun\(\)"), "--from-step KEY or --step KEY=JSON"),
    (re.compile(r'give either cron="0 3 \* \* \*" or every="15m"'), 'give either --cron "0 3 * * *" or --every 15m'),
    (re.compile(r"as `handle\.id` gives it"), "as `redisflow run list` prints it"),
    (re.compile(r"\b(rerun|fork)\(\)(?= (?:or|makes) )"), r"`redisflow run \1`"),
    (re.compile(r"(?<=failed after 1 attempt)\(s\)"), ""),
    (re.compile(r"(failed after [0-9]+ attempt)\(s\)"), r"\1s"),
    # Where that may be so, `problems.unsure` says it, and what to do; other commands may be given again.
    (re.compile(r" The call may be made again; what starts or sends something may have done so, .* for that$"), ""),
)


def translated(message: str) -> str:
    """The message with options instead of arguments, where that is known."""
    for pattern, words in _PHRASES:
        message = pattern.sub(words, message)
    return message
