"""Users of a server who may do exactly what redisflow does: enough for everything, and for nothing else.

Whole suites run as such users with REDISFLOW_TEST_SERVERS="acl_valkey acl_redis"; here is what is about the rule.
"""

from __future__ import annotations

import ast
import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from redisflow import BackendError, InvalidName, RedisFlow, Step, UnsuitableServer, acl_rule, audit
from redisflow.backend import access
from redisflow.backend.redis_backend import RedisBackend
from redisflow.backend.scripts import load_scripts
from tests.acl import user_with

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(access.__file__).parent.parent
SCRIPTS = PACKAGE.parent / "lua"
# Asked for where a user may, and done without where not; or the tools of tests alone.
OPTIONAL = frozenset({"CONFIG|GET"})
OF_AUDITS = frozenset({"SCAN"})  # of all keys of a server: their user is given it beside the rule
OF_TEST_TOOLS = ("testing/",)
OF_OTHER_WORDS = ("dashboard/", "cli/")  # methods of HTTP, names of the environment; servers are reached by backends
# Words in upper case at the beginning of a tuple which are no command.
NO_COMMANDS = frozenset({"READONLY", "READONLY|MOVED", "MOVED", "EVALSHA|EVAL", "EXPLANATIONS"})
ALWAYS = frozenset({"AUTH"})  # for everybody, before anything else
OF_SENTINELS = frozenset({"SENTINEL|MASTER"})  # a Sentinel has users of its own


@pytest.fixture(params=["valkey", "redis"])
def plain_url(request: pytest.FixtureRequest) -> str:
    """The URL of a server's own user, on each kind that knows users."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


async def run_once(url: str, namespace: str) -> str:
    async with RedisFlow(url, namespace=namespace) as flow:

        @flow.define_workflow("greet")
        async def greet(name: str, step: Step) -> str:
            said = await step.run("say", "hello {}".format, name)
            await step.sleep("rest", "10ms")
            return said

        worker = asyncio.create_task(flow.new_worker().run())
        handle = await greet.run("you", idempotency_key="once")
        try:
            return await handle.result(timeout="60s")
        finally:
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)


async def test_a_user_of_the_rule_runs_workflows(plain_url: str, namespace: str):
    with user_with(plain_url, acl_rule(namespace)) as url:
        assert await run_once(url, namespace) == "hello you"


async def test_a_user_of_one_namespace_reaches_no_other_not_even_one_whose_name_begins_alike(
    plain_url: str, namespace: str
):
    others = [f"{namespace}b", f"{namespace}:0", f"{namespace}:eu", namespace[:-1], f"x{namespace}"]
    for other in others:
        await run_once(plain_url, other)
    with user_with(plain_url, acl_rule(namespace)) as url, redis.Redis.from_url(url) as client:
        for other in others:
            with pytest.raises(UnsuitableServer, match=r"NOPERM.*acl_rule"):
                await RedisBackend(url, namespace=other).open()
            key = f"rf:{{{other}:0}}:meta"
            for command in (("HGETALL", key), ("DEL", key), ("EVAL", "return redis.call('GET', ARGV[1])", 0, key)):
                with pytest.raises(redis.exceptions.ResponseError, match=r"(?i)permission|acl|can't access"):
                    client.execute_command(*command)
            with pytest.raises(redis.exceptions.ResponseError, match=r"(?i)permission"):
                client.execute_command("SSUBSCRIBE", f"rf:{{{other}:0}}:done:x")
        assert client.execute_command("HGETALL", f"rf:{{{namespace}:65535}}:meta") == {}


@pytest.mark.parametrize(
    "command",
    [
        ("KEYS", "*"),
        ("SCAN", "0"),
        ("CONFIG", "GET", "maxmemory"),
        ("FLUSHALL",),
        ("FLUSHDB",),
        ("FUNCTION", "LIST"),
        ("SCRIPT", "FLUSH"),
        ("ACL", "LIST"),
        ("REPLICAOF", "NO", "ONE"),
        ("MONITOR",),
        ("CLIENT", "LIST"),
        ("SHUTDOWN",),
    ],
)
def test_what_no_worker_needs_is_not_allowed(valkey_url: str, namespace: str, command: tuple[str, ...]):
    with (
        user_with(valkey_url, acl_rule(namespace)) as url,
        redis.Redis.from_url(url, protocol=2) as client,
        pytest.raises(redis.exceptions.NoPermissionError),
    ):
        client.execute_command(*command)


# Another database and the map of a cluster are asked for by those alone who need them, before anything is written.
@pytest.mark.parametrize("missing", sorted(access.probed().values()))
async def test_whoever_may_not_do_all_of_it_is_told_what_is_missing_and_nothing_is_written(
    valkey_url: str, namespace: str, missing: str
):
    rule = " ".join(part for part in acl_rule(namespace).split() if part != f"+{missing.lower()}")
    with user_with(valkey_url, rule) as url, redis.Redis.from_url(valkey_url) as admin:
        with pytest.raises(UnsuitableServer, match=re.escape("acl_rule(")) as refused:
            await RedisBackend(url, namespace=namespace).open()
        assert re.search(rf"\b{re.escape(missing)}\b", str(refused.value), re.IGNORECASE)
        assert admin.keys(f"rf:{{{namespace}:*") == []


async def test_the_keys_of_every_partition_are_asked_for(valkey_url: str, namespace: str):
    whole = RedisBackend(valkey_url, namespace=namespace, partitions=11)
    await whole.open()
    await whole.close()
    few = acl_rule(namespace).replace(f"~rf:{{{namespace}:[0-9][0-9]}}:*", "")
    with user_with(valkey_url, few) as url, pytest.raises(UnsuitableServer, match="NOPERM"):
        await RedisBackend(url, namespace=namespace).open()


async def test_who_may_not_even_send_scripts_is_told_what_to_do(valkey_url: str, namespace: str):
    with (
        user_with(valkey_url, "-@all +ping") as url,
        pytest.raises(UnsuitableServer, match=r"NOPERM.*redisflow\.acl_rule"),
    ):
        await RedisBackend(url, namespace=namespace).open()


async def test_a_reader_sees_runs_and_changes_nothing(plain_url: str, namespace: str):
    assert await run_once(plain_url, namespace) == "hello you"
    with user_with(plain_url, acl_rule(namespace, read_only=True)) as url, redis.Redis.from_url(plain_url) as admin:
        before = {key: admin.dump(key) for key in admin.keys(f"rf:{{{namespace}:*")}
        async with RedisFlow(url, namespace=namespace) as flow:

            @flow.define_workflow("greet")
            async def greet(name: str, step: Step) -> str:
                return name

            (run,) = [run async for run in flow.list_runs()]
            seen = await flow.get_run(run.id)
            assert (seen.status, seen.output) == ("succeeded", "hello you")
            assert {"say", "rest"} == {step.key for step in seen.steps}
            with pytest.raises(BackendError, match=r"nothing was stored.*the server's user may only read"):
                await greet.run("me")
            with pytest.raises(BackendError):
                await flow.delete_run(run.id)
            with pytest.raises(UnsuitableServer, match="a worker writes"):
                await flow.new_worker().run()
        assert {key: admin.dump(key) for key in admin.keys(f"rf:{{{namespace}:*")} == before


@pytest.mark.parametrize("name", ["*", "a}", "{b", "a b", "", "a\n", "[a-z]"])
def test_no_name_widens_a_rule(name: str):
    with pytest.raises(InvalidName):
        acl_rule(name)


def test_the_rule_names_every_command_that_the_code_sends_and_no_other():
    sent = set(_sent_by_python()) - OPTIONAL - ALWAYS - OF_SENTINELS - OF_AUDITS
    in_scripts = set(_sent_by_scripts())
    assert sent == access.DIRECT
    assert access.commands() == sent | in_scripts
    assert access.commands() >= access.READS


def test_scripts_name_their_commands_in_plain_words():
    """What is not a literal would be found by nobody. The exceptions: scripts of users, and the look at rules."""
    for path in sorted(SCRIPTS.rglob("*.lua")):
        for call in re.findall(r"redis\.p?call\b[^,)]*", path.read_text()):
            assert re.fullmatch(r"redis\.p?call\('[A-Z]+'", call), f"{path.name}: {call}"


@pytest.mark.parametrize("kind", ["valkey", "redis"])
def test_what_counts_as_reading_is_what_the_servers_say(kind: str, request: pytest.FixtureRequest):
    with redis.Redis.from_url(request.getfixturevalue(f"{kind}_url"), protocol=2) as client:
        client.response_callbacks.clear()
        for name in sorted(access.commands()):
            (info,) = client.execute_command("COMMAND", "INFO", name.lower())
            flags = {flag.decode() if isinstance(flag, bytes) else flag for flag in info[2]}
            # EVAL writes by what it calls, and is asked about for each of that. A publication changes no key.
            writes = "write" in flags or name == "SPUBLISH"
            assert writes == (name not in access.READS), name


def test_no_command_is_only_in_an_include_that_no_script_has():
    called = {name for script in load_scripts() for name in access.commands_in(script.text)}
    assert access.commands() == access.DIRECT | called


def _sent_by_python() -> Iterator[str]:
    """Of every tuple and call whose first words are text in upper case: the command that it is."""
    for path in sorted(PACKAGE.rglob("*.py")):
        where = path.relative_to(PACKAGE).as_posix()
        if where.startswith((*OF_TEST_TOOLS, *OF_OTHER_WORDS)) or where in ("backend/access.py", "backend/memory.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Tuple, ast.List)):
                words = [part.value for part in node.elts if isinstance(part, ast.Constant)]
                yield from _command(node.elts, words)


def _command(parts: list[ast.expr], words: list[Any]) -> Iterator[str]:
    first = parts[0].value if parts and isinstance(parts[0], ast.Constant) else None
    if isinstance(first, str) and re.fullmatch(r"[A-Z]{3,}", first):
        second = words[1] if len(words) > 1 else ""
        has_second = first in ("CLUSTER", "SCRIPT", "CONFIG", "SENTINEL", "XGROUP", "XINFO")
        name = f"{first}|{second}" if has_second else first
        if name not in NO_COMMANDS:
            yield name


def _sent_by_scripts() -> Iterator[str]:
    for path in SCRIPTS.rglob("*.lua"):
        for name, rest in re.findall(r"redis\.p?call\('([A-Z]+)'((?:, *'[A-Z]+')?)", path.read_text()):
            yield f"{name}|{rest.strip(', ')[1:-1]}" if name in ("XGROUP", "XINFO") else name


async def test_an_audit_by_a_user_who_may_not_scan_says_what_to_add(plain_url: str, namespace: str):
    with (
        user_with(plain_url, acl_rule(namespace)) as url,
        pytest.raises(UnsuitableServer, match=r"walks the keys: .*ACL SETUSER <user> \+scan"),
    ):
        await audit(namespace, url)
    with user_with(plain_url, f"{acl_rule(namespace)} +scan") as url:
        assert (await audit(namespace, url, repair=True)).is_clean
