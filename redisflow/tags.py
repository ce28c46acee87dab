"""Tags: what people call a run, to find it again. Names with values, text by text.

They are stored as lines (`customer=c1`) that people can read, and before them a line with the hash of each, by which
scripts name the listings that the run is in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import cast

from redisflow.errors import InvalidTags

MAX_TAGS = 32
MAX_TAG_BYTES = 128
"""Of a name, and of a value, as UTF-8."""

Tags = Mapping[str, str]


def encode_tags(tags: object) -> str:
    """Tags as they are stored; InvalidTags, with what to change, where they are none."""
    if not isinstance(tags, Mapping):
        message = f'tags are a mapping of names to values, such as {{"customer": "c1"}}, not {type(tags).__qualname__}'
        raise InvalidTags(message)
    given = cast("Mapping[object, object]", tags)
    if len(given) > MAX_TAGS:
        message = f"a run has at most {MAX_TAGS} tags, not {len(given)}: tag what you search for, the rest is input"
        raise InvalidTags(message)
    lines = sorted(f"{_checked('name', name)}={_checked('value', value)}" for name, value in given.items())
    return "\n".join([" ".join(map(_hash, lines)), *lines])


def decode_tags(stored: str) -> Tags:
    """Tags, from how they are stored."""
    return dict(line.split("=", 1) for line in stored.split("\n")[1:])


def tag_listing(name: str, value: str) -> str:
    """The listing of the runs that have this tag, as lua/lib/list_tags.lua names it."""
    return f"tag:{_hash(f'{name}={value}')}"


def _hash(line: str) -> str:
    """Short, since whoever lists runs looks at their tags, too."""
    return hashlib.sha256(line.encode()).hexdigest()[:12]


def _checked(what: str, text: object) -> str:
    if not isinstance(text, str):
        message = f"the {what} of a tag is a str, not {type(text).__qualname__}: write str(...) around it"
    elif not text and what == "name":
        message = "the name of a tag is empty"
    elif not text.isprintable():
        message = f"the {what} of a tag holds characters that cannot be printed: {text[:80]!r}"
    elif (size := len(text.encode())) > MAX_TAG_BYTES:
        message = f"the {what} of a tag has {size} bytes: {MAX_TAG_BYTES} (as UTF-8) are allowed"
    elif what == "name" and "=" in text:
        message = f"the name of a tag holds no '=': {text!r}"
    else:
        return text
    raise InvalidTags(message)
