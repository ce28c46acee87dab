"""Names that people choose: each is checked where it enters, so that every stored key and every log line is readable.

The hard thing is speed. A step's name is checked at each call of each pass, so a name that passed once is remembered;
one that did not is checked again, so that its text is not kept.
"""

from __future__ import annotations

import re
from functools import lru_cache

from redisflow.errors import InvalidName

MAX_NAME_LENGTH = 128
AUDIT = "audit"
"""The kind of events that say what people did to a run: workflow code says none of them."""

_NAME = re.compile(rf"[A-Za-z0-9._:-]{{1,{MAX_NAME_LENGTH}}}")
_REPEATED = re.compile(r"#[0-9]+\Z")
_SHOWN = 80


def check_name(kind: str, name: object) -> str:
    """Return `name` if it may name a `kind` (namespace, queue, workflow, version); raise InvalidName if not."""
    if type(name) is str:
        try:
            return _checked_name(name)
        except ValueError:
            pass
    message = (
        f"the {kind} {_shown(name)} is not allowed: a {kind} is a str of 1 to {MAX_NAME_LENGTH} characters, "
        "each a letter or digit (ASCII) or one of . _ : -"
    )
    raise InvalidName(message)


def check_text(kind: str, name: object) -> str:
    """Return `name` if it may name a `kind` (step, signal, event, state) within a run; raise InvalidName if not.

    Such a name is printable text of 1 to 128 bytes that does not end in `#` and digits.
    """
    if type(name) is str:
        return _checked_text(kind, name)
    message = f"the name of a {kind} is a str, not {_shown(name)} ({type(name).__qualname__})"
    raise InvalidName(message)


def check_step_name(name: object) -> str:
    """Return `name` if it may name a step."""
    return check_text("step", name)


def name_of_key(key: str) -> str:
    """The name that was given to what has this key within its run: keys of names that were used again end in `#2`."""
    return _REPEATED.sub("", key)


def partition_prefix(namespace: str, partition: int) -> str:
    """How every key of a partition begins: they all share one slot of a Cluster."""
    return f"rf:{{{namespace}:{partition}}}:"


def user_key(namespace: str, partition: int, name: str) -> str:
    """The whole key to which `step.redis` gives this name."""
    return f"{partition_prefix(namespace, partition)}u:{name}"


def key_size(key: str) -> int:
    """How many bytes a key of users' has as UTF-8; InvalidName where it has none. It is not shown: it may be secret."""
    try:
        return len(key.encode())
    except UnicodeEncodeError:
        msg = "a key is text that UTF-8 can hold: this one has lone surrogates"
        raise InvalidName(msg) from None


@lru_cache(maxsize=4096)
def _checked_name(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ValueError(name)
    return name


@lru_cache(maxsize=4096)
def _checked_text(kind: str, name: str) -> str:
    if not name:
        message = f"the name of a {kind} is empty: name it after what it does"
    elif not name.isprintable():
        message = f"the {kind} name {_shown(name)} holds characters that cannot be printed: use printable text"
    elif (size := len(name.encode())) > MAX_NAME_LENGTH:
        message = f"the {kind} name {_shown(name)} has {size} bytes: {MAX_NAME_LENGTH} (as UTF-8) are allowed"
    elif _REPEATED.search(name) is not None:
        message = (
            f"the {kind} name {_shown(name)} ends in # and digits: those are given to names that are used again; "
            "put the number in front, or write it with another sign"
        )
    else:
        return name
    raise InvalidName(message)


def _shown(name: object) -> str:
    text = repr(name[: _SHOWN + 1]) if isinstance(name, str) else repr(name)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
