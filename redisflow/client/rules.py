"""The rules of one start: what it says itself over what its workflow declares, and the partition that they name.

The hard thing is that each rule is judged where its key lives. So all keys of a start must live in one partition; with
more than one that is so where they are the same text, and anything else is refused here, whatever it hashes to.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redisflow.authoring.starting import Key, StartRules, check_choice
from redisflow.contract import DebounceRule, StartRule, ThrottleRule, UniqueRule
from redisflow.durations import to_ms
from redisflow.errors import InvalidStart
from redisflow.names import key_size
from redisflow.run_id import partition_for_key

if TYPE_CHECKING:
    from redisflow.authoring.definition import WorkflowSpec
    from redisflow.client.start import StartOptions

KEY_LIMIT = 256
"""Bytes of a key before it is hashed."""
_NONE = StartRules()


@dataclass(frozen=True, slots=True)
class Plan:
    """Under which rules a run is started, and the keys that say where, by the option that gives each."""

    rules: tuple[StartRule, ...]
    keys: dict[str, str]

    def partition(self, workflow: str, partitions: int) -> int:
        """Where the run lives: where its keys say, so that all who use a key meet in one place."""
        if partitions == 1:
            return 0
        texts = set(self.keys.values())
        if len(texts) > 1:
            shown = ", ".join(f"{option} {key!r}" for option, key in self.keys.items())
            msg = (
                f"this start of workflow {workflow!r} has keys that live in different partitions of the namespace "
                f"({shown}): give them the same text, or start the run under one of them"
            )
            raise InvalidStart(msg)
        if texts:
            return partition_for_key(f"{workflow}\0{texts.pop()}", partitions)
        return random.randrange(partitions)  # noqa: S311  # not for secrets: it spreads runs


NO_RULES = Plan((), {})


def plan_start(spec: WorkflowSpec[Any, Any], value: Any, options: StartOptions) -> Plan:
    """The rules of this start; `value` is the validated input, for the keys that are functions of it."""
    has_rules = spec.start is not None or options.has_rules
    if not has_rules and options.idempotency_key is None:
        return NO_RULES
    keys = {} if options.idempotency_key is None else {"idempotency_key": options.idempotency_key}
    if not has_rules:
        return Plan((), keys)
    declared = spec.start or _NONE
    unique_key = options.unique_key if options.unique_key is not None else declared.unique_key
    debounce, throttle = options.debounce or declared.debounce, options.throttle or declared.throttle
    rules: list[StartRule] = []

    def key_hash(option: str, key: Key | None) -> str | None:
        text = _text_of(option, key, value)
        if text is None:
            return None
        keys[option] = text
        return hash_of(spec.name.encode(), text.encode())

    if debounce is not None and (hashed := key_hash("debounce", debounce.key)) is not None:
        delay_ms = to_ms(debounce.delay, what="debounce")
        at_most_ms = None if debounce.at_most is None else to_ms(debounce.at_most, what="at_most")
        rules.append(DebounceRule(key_hash=hashed, delay_ms=delay_ms, at_most_ms=at_most_ms))
    if (hashed := key_hash("unique_key", unique_key)) is not None:
        on_conflict = options.on_conflict or declared.on_conflict
        rules.append(UniqueRule(key_hash=hashed, on_conflict=on_conflict))
    if throttle is not None and (hashed := key_hash("throttle", throttle.key)) is not None:
        per_ms = to_ms(throttle.per, what="throttle")
        rules.append(ThrottleRule(key_hash=hashed, limit=throttle.limit, per_ms=per_ms, on_excess=throttle.on_excess))
    _check(rules, options, has_unique_key=unique_key is not None)
    return Plan(tuple(rules), keys)


def _check(rules: list[StartRule], options: StartOptions, *, has_unique_key: bool) -> None:
    if options.on_conflict is not None:
        check_choice("on_conflict", options.on_conflict, ("existing", "reject", "cancel_older"))
        if not has_unique_key:
            msg = "on_conflict says what happens while a run with the unique key is active: give a unique_key, too"
            raise InvalidStart(msg)
    says_when = ["debounce" if isinstance(rule, DebounceRule) else "throttle" for rule in rules if _says_when(rule)]
    if options.available_at is not None:
        says_when.append("available_at")
    if len(says_when) > 1:
        msg = f"{' and '.join(says_when)} each say when the run may begin: give one of them"
        raise InvalidStart(msg)


def _says_when(rule: StartRule) -> bool:
    return not isinstance(rule, UniqueRule)


def _text_of(option: str, key: Key | None, value: Any) -> str | None:
    text = key(value) if callable(key) else key
    if text is None:
        return None
    if not isinstance(text, str):
        msg = f"the key of {option} is text (or a function of the input that returns it), not {type(text).__qualname__}"
        raise InvalidStart(msg)
    # No text at all is the key of a whole workflow, which a unique key says with text of its own.
    return check_key(option, text) if text or option == "unique_key" else text


def check_key(option: str, key: str) -> str:
    """The key, if it can be one; InvalidStart (InvalidName: no UTF-8) where not. It is not shown: it may be a name."""
    size = key_size(key)
    if not 1 <= size <= KEY_LIMIT:
        msg = f"a key has 1 to {KEY_LIMIT} bytes, the one of {option} has {size}"
        raise InvalidStart(msg)
    return key


def hash_of(*parts: bytes) -> str:
    """A key as it is stored."""
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]
