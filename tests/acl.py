"""Users of a server that may do what a rule says; and the way past them, for what a test looks at beside redisflow."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import redis

from redisflow import acl_rule

if TYPE_CHECKING:
    from collections.abc import Iterator

# The clock of tests looks for what is left in a namespace, and whether anybody awaits a run; then what the scripts
# call that tests give to `step.redis`.
OF_TESTS = "+scan +pubsub|shardchannels +incr +incrby +decr +decrby"
# Some tests have other namespaces beside their own.
BESIDE = ("x", "-wide", "-2", "-3")


def rule_of_tests(namespace: str) -> str:
    """What the user of a test may do: what redisflow does there, and what tests do besides."""
    places = [f"rf:{{{namespace}{more}:*" for more in BESIDE]
    return " ".join((acl_rule(namespace), *(f"~{place} &{place}" for place in places), OF_TESTS))


@contextlib.contextmanager
def user_with(url: str, rule: str) -> Iterator[str]:
    """Make a user with this rule on the server; give the URL by which it connects, and remove it at the end."""
    name, password = f"user-{secrets.token_hex(4)}", secrets.token_hex(16)
    parts = urlsplit(url)
    with redis.Redis.from_url(url, protocol=2) as admin:
        admin.execute_command("ACL", "SETUSER", name, "on", f">{password}", *rule.split())
        try:
            yield urlunsplit(parts._replace(netloc=f"{name}:{password}@{parts.netloc}"))
        finally:
            admin.execute_command("ACL", "DELUSER", name)


def past_users(url: str) -> str:
    """The URL of the same server for its default user, who may do anything."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if parts.netloc else url
