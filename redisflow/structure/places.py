"""Which keys there are, and what each kind of them is for; see ARCHITECTURE.md."""

from __future__ import annotations

PASSING = (
    "idem:",
    "acked:",
    "turn:",
    "fork:",
    "import:",
    "limit:",
    "debounce:",
    "joined:",
    "throttle:",
    "cast:",
    "kept:",
    "minute:",
)
"""These run out by themselves: nobody's run depends on them. What a rate has counted does so long after its period."""

OF_ONE_RUN = ("events:", "state:", "fx:", "mail:", "kids:")
"""Keys of a run beside its hash."""

LISTINGS = ("runs:", "done:", "stuck:", "held:", "tag:")
LINES = ("limit:", "blocked:", "fair:")

SHARED = (
    *("meta", "workers", "worker:", "served", "workflows", "queues", "upkeep", "bell:", "alarm", "losses"),
    *("schedule:", "schedules", "controls", "control:", "lanes", "clock", "u:"),
    *(kind for kind in PASSING if kind not in LINES),
)
"""Of the whole partition: they outlive runs, or are no run's."""

LAYOUT = ("run:", "q:", "delayed", "signal:", "unique:", "queued:", "outbox", *OF_ONE_RUN, *LISTINGS, *LINES, *SHARED)
"""How each key that belongs here begins; the words without a colon are whole names."""

_TYPES = {
    "zset": ("delayed", "signal:", *LISTINGS, *LINES, "workers", "served", "schedules", "broken"),
    "hash": (
        "mail:",
        "kids:",
        "state:",
        "fx:",
        "schedule:",
        "controls",
        "control:",
        "lanes",
        "meta",
        "worker:",
        "upkeep",
        "minute:",
    ),
    "stream": ("q:", "outbox", "events:"),
    "list": ("queued:", "bell:", "alarm", "losses"),
    "set": ("workflows", "queues"),
    "string": ("unique:", "idem:", "turn:", "acked:"),
}
_TYPE_OF = {kind: wanted for wanted, kinds in _TYPES.items() for kind in kinds}

_NAMES = frozenset(name for name in LAYOUT if not name.endswith(":"))
_KINDS = frozenset(name for name in LAYOUT if name.endswith(":"))


def is_of_layout(name: str) -> bool:
    """Whether a key (without prefix) is one of those that are known."""
    kind, colon, _ = name.partition(":")
    return (kind + colon) in _KINDS if colon else name in _NAMES


def is_shared(name: str) -> bool:
    """Whether a key outlives all runs."""
    kind, colon, _ = name.partition(":")
    return kind + colon in SHARED


def type_of(name: str) -> str | None:
    """The type that a key has; None where any will do, or it is not known here."""
    kind, colon, _ = name.partition(":")
    return _TYPE_OF.get(kind + colon)
