"""A breach of the structure: which rule, where, of which run, and what a repair would do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Rule(StrEnum):
    """What must be true at every instant. The first six are those of the reliability list, by their numbers there."""

    STATUS = "T1"
    LISTING = "T2"
    STRANGER = "T3"
    EXPIRY = "T4"
    PENDING = "T5"
    CONSUMERS = "T6"
    REACH = "T7"
    LINE = "T8"
    DAMAGE = "T9"


EXPLANATIONS: Final = {
    Rule.STATUS: "a run stands where its status says: pending, in its stream; running, among the pending entries of the"
    " group; waiting, with a timer or in the place of its reason; ended, in none of these",
    Rule.LISTING: "a run is in the listings that its status, its tags and its queue say, and in no others",
    Rule.STRANGER: "no key, and no member of one, is of a run that is not stored",
    Rule.EXPIRY: "nothing that a run needs has a time to live",
    Rule.PENDING: "what is pending in a stream's group is an entry of the stream",
    Rule.CONSUMERS: "a stream's group has no more consumers than there are live workers, and ten",
    Rule.REACH: "unique keys, signals, mail and the ends of children find the run that they are for",
    Rule.LINE: "limits, rates, fair keys and schedules count who is there, and nobody waits where there is room",
    Rule.DAMAGE: "a run's hash can be read, and its record has no gap",
}
"""By rule, in a sentence."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """What puts a breach right: a run is rebuilt from its hash, or a member is taken out of a key.

    `verb` is `rebuild` for a run; else it is done to the key `name` (without prefix), or to a member of it.
    """

    verb: str
    name: str = ""
    member: str = ""

    def __str__(self) -> str:
        """What it would do, in words."""
        told = {
            "rebuild": "what points to the run is rebuilt from its hash",
            "keep": "it is kept for good",
            "unlist": "it is taken off that list",
            "forget": "the key is deleted",
            "leave": "the entry is removed",
            "schedule": "it is listed as its definition says",
            "free": "its place is freed",
            "move": "the line moves on",
            "sweep": "consumers of dead workers are removed",
        }
        return told[self.verb]


@dataclass(frozen=True, slots=True)
class Breach:
    """One thing that is not as it must be."""

    rule: Rule
    key: str
    """The whole key where it was seen."""
    run_id: str
    """The run that it is about; empty where it is about none."""
    what: str
    """What is wrong, in words."""
    remedy: Remedy | None = None
    """What a repair does about it; None where nothing can be derived, so that it is only reported."""

    def __str__(self) -> str:
        """For people: the rule, where, and what."""
        return f"{self.rule.value} {self.key}: {self.what}"
