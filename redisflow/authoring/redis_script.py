"""What `step.redis` is given, checked where it is asked for: a short script, and names and values of bounded size."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from redisflow.errors import InvalidScript
from redisflow.names import key_size

SCRIPT_LIMIT: Final = 16 * 1024
"""Bytes of a script's text: it travels with each call."""
VALUES_LIMIT: Final = 64 * 1024
"""Bytes of all keys and arguments together."""
WORDS_LIMIT: Final = 100
"""Keys and arguments together."""
KEY_LIMIT: Final = 512
"""Bytes of a key's name."""

Word = str | bytes | int


def script_words(name: str, script: str, keys: Iterable[str], args: Iterable[Word]) -> tuple[Word, ...]:
    """As the effect takes them (lua/lib/effect_redis.lua); InvalidScript where they cannot be."""
    if type(script) is not str or not script.strip():
        raise _invalid(name, "the script is the text of a Lua script: `return redis.call('INCR', KEYS[1])`")
    if (size := len(script.encode())) > SCRIPT_LIMIT:
        raise _invalid(name, f"the script has {size:,} bytes, over the limit of {SCRIPT_LIMIT:,}: pass data as args")
    if isinstance(keys, str) or isinstance(args, str | bytes):
        raise _invalid(name, "keys and args are lists: `keys=['stock:cup'], args=[1]`")
    names, values = list(keys), list(args)
    for key in names:
        _check_key(name, key)
    for value in values:
        if type(value) not in (str, bytes, int):
            kind = type(value).__qualname__
            raise _invalid(name, f"an argument is a str, bytes or an int, not a {kind}: Redis has only text and bytes")
    if len(names) + len(values) > WORDS_LIMIT:
        raise _invalid(name, f"{len(names) + len(values)} keys and arguments are over the limit of {WORDS_LIMIT}")
    if (size := sum(map(_size, [*names, *values]))) > VALUES_LIMIT:
        raise _invalid(name, f"keys and arguments have {size:,} bytes, over the limit of {VALUES_LIMIT:,}")
    return (script, len(names), *names, len(values), *values)


def _check_key(name: str, key: Any) -> None:
    if type(key) is not str or not key:
        raise _invalid(name, f"a key is the name that follows the partition's prefix, such as 'stock:cup', not {key!r}")
    if key_size(key) > KEY_LIMIT:
        raise _invalid(name, f"a key's name has more than {KEY_LIMIT} bytes")
    if key.startswith("rf:{"):
        raise _invalid(name, f"{key!r} is a whole key: name it without its prefix, which it gets from the run")


def _size(word: Word) -> int:
    return len(word.encode()) if isinstance(word, str) else len(word) if isinstance(word, bytes) else len(str(word))


def _invalid(name: str, why: str) -> InvalidScript:
    return InvalidScript(f"step.redis({name!r}): {why}")
