"""User payloads are opaque: every byte that goes into a script comes out of it."""

from __future__ import annotations

import datetime as dt
import struct

import msgpack
import pytest

from tests.lua.harness import PREFIX, Lua, new_run, shelved

# What Lua's own libraries would refuse, round, cut or turn into something else.
PAYLOADS: dict[str, bytes] = {
    "nothing": b"",
    "every byte": bytes(range(256)),
    "bin": msgpack.packb(b"\x00\xff"),
    "extension": msgpack.packb(msgpack.ExtType(5, b"\x00x")),
    "timestamp": msgpack.packb(dt.datetime(2026, 1, 2, tzinfo=dt.UTC), datetime=True),
    "2**53 + 1": msgpack.packb(2**53 + 1),
    "2**63 - 1": msgpack.packb(2**63 - 1),
    "an empty map": msgpack.packb({}),
    "an empty list": msgpack.packb([]),
    "a list with a hole": msgpack.packb([1, None, 3]),
    "a map with an int key": msgpack.packb({1: "a"}),
    "a whole float": msgpack.packb(2.0),
    "not a number": struct.pack(">Bd", 0xCB, float("nan")),
    "deep nesting": b"\x91" * 40 + b"\xc0",
    "microseconds": b"1700000000123456",
    "digits": b"007",
    "a long number": b"9" * 40,
    "an exponent": b"1e5",
    "spaces and line ends": b" a\r\nb\t\x00 ",
    "not utf-8": b"\xc3\x28\xff",
    "words of the protocol": b"*1\r\n$4\r\nPING\r\n",
    "patterns": b"%s %d %1 ^.*$ [a] {b}",
    "65 bytes": b"x" * 65,
    "16 KiB and a bit": bytes(range(256)) * 65,
}


@pytest.fixture(params=PAYLOADS)
def payload(request: pytest.FixtureRequest) -> bytes:
    return PAYLOADS[request.param]


def test_payloads_pass_every_script_byte_by_byte(lua: Lua, payload: bytes) -> None:
    assert lua.twice("create_run", **new_run(input=payload))[0] == "created"
    reply = lua.twice("claim_runs", ["default"], **lua.claim_arguments("w1", operation="first"))
    held = lua.claim_only("w1", operation="first")
    assert len(reply) == 5
    assert held.fields["i"] == payload
    assert lua.fields()["h"] == b"0:%d" % len(payload)

    assert lua.twice("note_progress", run_id="run-1", fence=held.fence, progress=payload) == ["ok"]
    assert lua.fields()["p"] == payload
    lua.renew(held, about=payload or b"-")
    assert lua.redis.hget(f"{PREFIX}worker:w1", "about") == (payload or b"-")

    committed = {**held.shown(payload, payload), "renew": "w1", "forget": "crashes", "seen": ""}
    lua.commit(held, payload, payload, renew="w1", forget="crashes")
    assert lua.call("commit_run", [payload, payload], **committed) == ["ok"]
    piece = {"run_id": "run-1", "first": 0, "last": 1, "bytes": 1_000_000}
    assert lua.twice("read_records", **piece) == ["ok", payload, payload]

    assert lua.twice("shelve_run", **shelved(held, "suspended", problem=payload)) == ["ok"]
    assert lua.fields().get("er", b"") == payload
    lua.wake_stuck()
    held = lua.claim_only()
    parking = {"reason": "timer", "due": lua.now, "seen": "", "wants": ""}
    assert lua.twice("park_run", [payload], **held.shown(payload), **parking) == ["ok"]
    lua.wake()
    held = lua.claim_only()
    lua.expire(held)
    lua.reclaim("w")
    held = lua.claim_only()
    lua.delete("q:default:w")
    lua.reconcile()
    held = lua.claim_only()
    lua.release(held)
    held = lua.claim_only()
    assert [held.fields[str(number)] for number in range(3)] == [payload] * 3
    assert held.fields["i"] == payload

    ending = {**held.shown(payload), "status": "succeeded", "payload": payload}
    assert lua.twice("finish_run", [payload], **ending) == ["ok"]
    assert lua.records() == [payload] * 4
    assert (lua.fields()["o"], lua.fields()["i"]) == (payload, payload)


def test_a_failure_keeps_its_bytes(lua: Lua, payload: bytes) -> None:
    lua.finish(lua.take(), status="failed", payload=payload)
    assert lua.fields()["er"] == payload


@pytest.mark.parametrize("name", ["run-Ünï", "%d", "a:b:c", "0", "-1", "1e5", "';return(1)--", "r" * 256])
def test_names_are_only_names(lua: Lua, name: str) -> None:
    key = {"idem": "k", "idem_ms": 60_000, "fingerprint": "print"}
    lua.create(name, workflow=name, queue=name, version=name, **key)
    assert lua.create("another", **key) == ["existing", name.encode()]
    held = lua.claim_only(name, queues=[name], operation=name)
    assert (held.run_id, held.fence, held.queue) == (name, f"1:{name}", name)
    assert lua.claim_only(name, queues=[name], operation=name) == held
    assert lua.renew(held, worker=name) == []
    assert lua.shelve(held, "stranded") == "ok"
    assert lua.wake_stuck(name)[0] == 1
    held = lua.claim_only(name, queues=[name])
    lua.expire(held)
    assert lua.reclaim("w", queue=name)[1] == 1
    assert lua.reconcile(name) == (1, 0)
    lua.finish(lua.claim_only(name, queues=[name]))
    assert lua.listed(f"done:{name}:succeeded") == [name]
    assert lua.call("leave_worker", [name], worker=name) == ["ok"]
