"""What a server's user must be allowed to do: the commands of the scripts and of this package, and no others.

A server looks at the rules of a script's caller for each command inside it, and what a script wrote before it was
refused stays written. So everybody who connects asks first (`refuse_if_denied`), and the rule that allows exactly
this (`acl_rule`) is made from the scripts' own text: no list of their commands can fall behind them.
"""

from __future__ import annotations

import asyncio
import re
from functools import cache
from typing import TYPE_CHECKING

from redisflow.backend.script_files import script_files
from redisflow.errors import BackendError, UnsuitableServer
from redisflow.names import check_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from redisflow.backend.patience import Patience
    from redisflow.backend.scripts import Scripts
    from redisflow.backend.transport import Transport

# What is sent to servers without a script (tests/security compares this with the code, call by call).
DIRECT = frozenset(
    {
        "BLPOP",
        "CLUSTER|SLOTS",
        "EVAL",
        "EVALSHA",
        "EXISTS",
        "GET",
        "HDEL",
        "HGET",
        "HGETALL",
        "HMGET",
        "HRANDFIELD",
        "HSCAN",
        "INCR",
        "INFO",
        "LPUSH",
        "LRANGE",
        "PEXPIRE",
        "PING",
        "ROLE",
        "SCRIPT|LOAD",
        "SELECT",
        "SMEMBERS",
        "SSUBSCRIBE",
        "SUNSUBSCRIBE",
        "WAIT",
        "XRANGE",
        "ZCARD",
        "ZRANGEBYSCORE",
        "ZREVRANGE",
        "ZSCAN",
    }
)
# Those that change nothing (by what the servers themselves say of each: COMMAND INFO).
READS = frozenset(
    {
        *("CLUSTER|SLOTS", "EVAL", "EVALSHA", "INFO", "PING", "SCRIPT|LOAD", "SELECT", "SSUBSCRIBE", "SUNSUBSCRIBE"),
        *("EXISTS", "GET", "HEXISTS", "HGET", "HGETALL", "HKEYS", "HLEN", "HMGET", "HRANDFIELD", "HSCAN", "HSTRLEN"),
        *("LINDEX", "LLEN", "LPOS", "LRANGE", "PTTL", "ROLE", "SCARD", "SISMEMBER", "SMEMBERS", "SSCAN", "STRLEN"),
        *("TIME", "TYPE", "WAIT"),
        *("XINFO|CONSUMERS", "XINFO|STREAM", "XLEN", "XPENDING", "XRANGE", "XREVRANGE"),
        *("ZCARD", "ZCOUNT", "ZMSCORE", "ZRANDMEMBER", "ZRANGE", "ZRANGEBYSCORE", "ZREVRANGE", "ZSCAN", "ZSCORE"),
    }
)
# Where a call's key is not simply its first argument. A cluster's map and another database are needed by few.
_SHAPES = {
    "CLUSTER|SLOTS": None,
    "SELECT": None,
    "EVAL": "EVAL x 1 $",
    "EVALSHA": "EVALSHA x 1 $",
    "INFO": "INFO",
    "PING": "PING",
    "RENAME": "RENAME $ $",
    "ROLE": "ROLE",
    "BLPOP": "BLPOP $ 1",
    "SCRIPT|LOAD": "SCRIPT LOAD x",
    "TIME": "TIME",
    "WAIT": "WAIT 1 1",
    "XREADGROUP": "XREADGROUP GROUP workers x COUNT 1 STREAMS $ >",
}
_CALL = re.compile(r"redis\.p?call\('([A-Z]+)'(?:, '(CREATE|DELCONSUMER|STREAM|CONSUMERS)')?")
# A partition's number has up to five digits. Patterns that end after the number keep the namespace `a` from `a:b`,
# whose own begins with `rf:{a:` as well.
_DIGITS = 5


@cache
def commands() -> frozenset[str]:
    """Every command that clients, workers and their scripts send, as ACL rules name them."""
    found = {name for text in script_files().values() for name in commands_in(text)}
    return frozenset(found | DIRECT)


def commands_in(text: str) -> frozenset[str]:
    """The commands that a script calls."""
    return frozenset("|".join(filter(None, call)) for call in _CALL.findall(text))


@cache
def probed() -> Mapping[str, str]:
    """What `check_access` is asked about each command, but for those that only some need."""
    calls = {name: _SHAPES.get(name, f"{name.replace('|', ' ')} $") for name in sorted(commands())}
    return {call: name for name, call in calls.items() if call is not None}


def acl_rule(namespace: str, *, read_only: bool = False) -> str:
    """The rule of a user who may do in this namespace all that redisflow does there, and nothing anywhere else.

    It is what follows the password in `ACL SETUSER name on >password ...`: exactly the commands that clients, workers
    and their scripts send, the keys and the channels of this one namespace. Who runs scripts of their own
    (`step.redis`) adds the commands that those call. With `read_only` the user can look at runs, and start, wait for
    and change none. InvalidName where no namespace can have this name.
    """
    check_name("namespace", namespace)
    places = [f"rf:{{{namespace}:{'[0-9]' * digits}}}:*" for digits in range(1, _DIGITS + 1)]
    allowed = commands() & READS if read_only else commands()
    return " ".join(
        (
            *("resetkeys", *(f"~{place}" for place in places)),
            *("resetchannels", *(f"&{place}" for place in places)),
            *("-@all", *(f"+{command.lower()}" for command in sorted(allowed))),
        )
    )


async def refuse_if_denied(
    transport: Transport, scripts: Scripts, patience: Patience, prefixes: Sequence[str], namespace: str
) -> bool:
    """Whether we may write in these partitions; False if we may only read, UnsuitableServer if neither quite.

    Somebody who may write half of it would leave halves: refused at once, with what is missing. Who may write nothing
    can leave nothing.
    """
    names = probed()
    sent = (patience.give(transport.send(at, scripts.check_access.call(at, names))) for at in prefixes)
    try:
        answers = await asyncio.gather(*sent)
    except BackendError as error:
        if "NOPERM" not in str(error):
            raise
        raise UnsuitableServer(explain_denial(error)) from error
    denied = {names[call.decode()] for _, *refused in answers for call in refused}
    if not denied:
        return True
    if denied == commands() - READS:
        return False
    raise UnsuitableServer(_explain(denied, namespace))


def explain_denial(error: BackendError) -> str:
    """What to do where the server's user may not even send scripts."""
    return f"{error}. Give the user the rule that `redisflow.acl_rule(namespace)` returns"


def explain_reader(namespace: str) -> str:
    """Why a worker cannot work as a user who may only read."""
    return f"the server's user may only read in namespace {namespace!r}: a worker writes. {_what_to_do(namespace)}"


def _explain(denied: Iterable[str], namespace: str) -> str:
    names = ", ".join(sorted(denied))
    return (
        f"the server's user may not use, on the keys and channels of namespace {namespace!r}: {names}. A script that"
        " is refused one of them half-way would leave half of what it writes, so nothing was done."
        f" {_what_to_do(namespace)}"
    )


def _what_to_do(namespace: str) -> str:
    return f"Give the user the rule that `redisflow.acl_rule({namespace!r})` returns"
