"""Keywords that are named in a TypedDict: Python lets any through, so what is misspelled is refused here."""

from __future__ import annotations

from collections.abc import Iterable


def refuse_unknown(function: str, given: Iterable[str], known: Iterable[str]) -> None:
    """TypeError where a keyword is none of those that are known: it would do nothing, and nobody would see it."""
    unknown = sorted(set(given).difference(known))
    if unknown:
        msg = f"{function} takes no {', '.join(map(repr, unknown))}; there are {', '.join(sorted(known))}"
        raise TypeError(msg)
