"""Whatever people name things: every key that is touched begins with the namespace's own prefix, and no name is code.

What is touched is what the server itself says (MONITOR), for the calls of Python and for each call inside a script.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from redisflow import BackendError, InvalidName, Limit, RedisFlow, RunNotFound, Step, backend
from redisflow.names import check_name, check_step_name
from redisflow.run_id import check_run_id, new_run_id, partition_of

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTILE = [
    "{",
    "}",
    "a}b",
    "{x}",
    "*",
    "?",
    "[a-z]",
    "\\",
    "a\nb",
    "a\rb",
    "a\0b",
    "a b",
    "ü",
    "",
    "x" * 129,
    "a/b",
    "../x",
    "'",
]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", ["namespace", "queue", "workflow", "version"])
def test_names_that_become_keys_are_plain(kind: str, name: str):
    with pytest.raises(InvalidName, match=f"the {kind} .* is not allowed"):
        check_name(kind, name)


@given(st.text())
def test_a_name_that_passes_cannot_end_a_hash_tag_or_widen_a_pattern(name: str):
    try:
        check_name("queue", name)
    except InvalidName:
        return
    assert re.fullmatch(r"[A-Za-z0-9._:-]{1,128}", name)


@given(st.text())
def test_a_steps_name_that_passes_is_printable(name: str):
    try:
        check_step_name(name)
    except InvalidName:
        return
    assert name.isprintable()
    assert len(name.encode()) <= 128


@given(st.text(max_size=80) | st.from_regex(r"[0-9a-fA-F-]{30,40}"))
def test_what_passes_as_an_id_is_32_digits_of_a_partition(text: str):
    try:
        run_id = check_run_id(text)
    except InvalidName:
        return
    assert re.fullmatch(r"[0-9a-f]{32}", run_id)
    assert 0 <= partition_of(run_id) < 1 << 16


# -- what is touched --------------------------------------------------------------------------------------------------

_LINE = re.compile(rb"^[\d.]+ \[\d+ ([^\]]*)\] (.*)$")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"')
# Of these commands no argument is a key.
_KEYLESS = {
    b"ECHO",
    b"TIME",
    b"INFO",
    b"PING",
    b"AUTH",
    b"SELECT",
    b"SCRIPT",
    b"CONFIG",
    b"CLIENT",
    b"HELLO",
    b"EVAL",
    b"MONITOR",
}
_AT = {b"XREADGROUP": None, b"EVALSHA": 3, b"XGROUP": 2, b"XINFO": 2}


class Watch:
    """The keys that one server's commands name."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)
        self._monitor: Any = self._client.monitor()
        self._monitor.__enter__()

    def keys(self) -> set[bytes]:
        self._client.echo("looked")
        found: set[bytes] = set()
        while True:
            line = self._monitor.connection.read_response()
            matched = _LINE.match(line)
            words = [_unescape(word) for word in _QUOTED.findall(matched[2])] if matched else []
            if words and words[0] == b"ECHO":
                return found
            found.update(_keys_of(words))

    def close(self) -> None:
        self._monitor.__exit__(None, None, None)
        self._client.close()


def _unescape(word: bytes) -> bytes:
    return bytes(ast.literal_eval('b"' + word.decode("latin-1") + '"'))


def _keys_of(words: list[bytes]) -> list[bytes]:
    command = words[0].upper()
    if command in _KEYLESS:
        return []
    if command == b"XREADGROUP":
        return [words[words.index(b"STREAMS") + 1]]
    if command in (b"DEL", b"UNLINK", b"EXISTS", b"RENAME", b"SSUBSCRIBE", b"SUNSUBSCRIBE"):
        return words[1:]
    if command == b"BLPOP":
        return words[1:-1]
    return [words[_AT.get(command) or 1]]


@pytest.fixture
def watch(valkey_url: str) -> Iterator[Watch]:
    made = Watch(valkey_url)
    yield made
    made.close()


TEXTS = [
    "{",
    "a}b:0}:",
    "*?[a-z]",
    "\\\"'",
    "line\nbreak\r",
    "nul\0",
    "a b\t",
    "naïve ☃ \U0001f40d",
    "%s%d{0}",
    "rf:{x:0}:run:1",
]


@pytest.mark.parametrize("text", [*TEXTS, "x" * 256])
async def test_every_key_that_a_run_touches_is_of_its_namespace(
    valkey_url: str, namespace: str, watch: Watch, text: str
):
    # Names of steps, signals and tags are printable; keys, limits and values are any text.
    name = "".join(sign for sign in text if sign.isprintable())[:100].strip()
    async with RedisFlow(valkey_url, namespace=namespace) as flow:

        @flow.define_workflow("hostile", concurrency=Limit(2, name="of", key=lambda given: given))
        async def hostile(given: str, step: Step) -> str:
            async def body() -> str:
                step.set_state(name, given)
                step.emit(given)
                return given

            await step.run(name, body)
            return await step.wait_for_signal(name, str)

        worker = asyncio.create_task(flow.new_worker().run())
        handle = await hostile.run(text, idempotency_key=text, tags={"tag": name})
        await handle.signal(name, text)
        await flow.send_signal(f"{name} for all", text, retain="1m")
        assert await handle.result(timeout="60s") == text
        assert [run.id async for run in flow.list_runs(tags={"tag": name})] == [handle.id]
        await handle.state()
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    ours = f"rf:{{{namespace}:0}}:".encode()
    touched = watch.keys()
    assert len(touched) > 10
    assert [key for key in touched if not key.startswith(ours)] == []
    # What people wrote is in no key: it is a hash there, or a field.
    assert [key for key in touched if not re.fullmatch(rb"[\w.:{}-]+", key)] == []


# -- ids of others --------------------------------------------------------------------------------


async def test_an_id_of_another_namespace_is_not_found_here(server_url: str, namespace: str):
    here, there = (RedisFlow(server_url, namespace=name) for name in (namespace, f"{namespace}x"))
    async with here, there:

        @there.define_workflow("secret")
        async def secret(text: str, step: Step) -> None:
            pass

        handle = await secret.run("mine")
        for call in (here.get_run, here.export_run):
            with pytest.raises(RunNotFound):
                await call(handle.id)
        for change in (here.cancel_workflow_run, here.delete_run, lambda run_id: here.signal(run_id, "go")):
            with contextlib.suppress(RunNotFound):  # to delete what is not there is no error
                assert not await change(handle.id)
        assert (await there.get_run(handle.id)).status == "pending"
        await there.cancel_workflow_run(handle.id)


async def test_an_id_of_a_partition_that_is_not_there_is_refused(server_url: str, namespace: str):
    async with RedisFlow(server_url, namespace=namespace, partitions=2) as flow:
        await flow.open()
        for partition in (2, 65535):
            with pytest.raises(BackendError, match="partition"):
                await flow.get_run(new_run_id(partition))


@pytest.mark.parametrize("run_id", ["*", "x}:rf:{y:0}:run:1", "a\nb", "../..", "run:1", "0" * 32, ""])
async def test_what_is_no_id_reaches_no_server(valkey_url: str, namespace: str, watch: Watch, run_id: str):
    async with RedisFlow(valkey_url, namespace=namespace) as flow:
        await flow.open()
        watch.keys()
        for call in (flow.get_run, flow.cancel_workflow_run, flow.delete_run):
            with pytest.raises(InvalidName):
                await call(run_id)
        assert not [name for name in sorted(watch.keys()) if namespace.encode() in name]


# -- no code from data --------------------------------------------------------------------------------


def test_no_text_of_a_script_is_built_from_data():
    """What is sent as EVAL or SCRIPT LOAD is the text of a file, as it is; and nothing here formats one."""
    found: list[str] = []
    for path in sorted(Path(backend.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Tuple, ast.List)) and node.elts and isinstance(node.elts[0], ast.Constant):
                first = node.elts[0].value
                text = node.elts[2 if first == "SCRIPT" else 1] if first in ("EVAL", "SCRIPT") else None
                if text is not None and not _is_stored_text(text):
                    found.append(f"{path.name}:{node.lineno} {ast.unparse(node)}")
            if isinstance(node, (ast.JoinedStr, ast.BinOp)) and re.search(r"redis\.p?call|\bKEYS\[", ast.unparse(node)):
                found.append(f"{path.name}:{node.lineno} {ast.unparse(node)[:80]}")
    assert found == []


def _is_stored_text(node: ast.expr) -> bool:
    """`texts[sha]`, `script.text`, `scripts.open_namespace.text`: what the files say."""
    if isinstance(node, ast.Subscript):
        return ast.unparse(node.value).endswith("texts")
    return (isinstance(node, ast.Attribute) and node.attr == "text") or isinstance(node, ast.Constant)


def test_scripts_compile_nothing_but_what_a_step_gives_as_one():
    """`step.redis` runs the text that the workflow's own code has; nothing else turns text into code in there."""
    folder = Path(backend.__file__).parent.parent.parent / "lua"
    found = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.lua")
        if re.search(r"\b(loadstring|load|dofile|setfenv|getfenv|loadfile|require)\b *\(", _without_comments(path))
    }
    assert found <= {"lib/run_given.lua"}


def _without_comments(path: Path) -> str:
    return re.sub(r"--[^\n]*", "", path.read_text())
