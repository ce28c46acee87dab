"""The floor: the same effect in plain pipelined commands, with the same values and key lengths.

enqueue = HSET (5 fields) + XADD + ZADD; claim = XREADGROUP (COUNT 50) + HSET (1 field) + HGETALL; each step = HSET (1
field); finish = HSET (3 fields) + XACK + XDEL + ZADD. No engine could do with less on streams.
"""

from __future__ import annotations

from typing import Any

from benchmarks.machine import server_us
from benchmarks.workflows import INPUT_60, OUTPUT_40
from redisflow.run_id import new_run_id

COUNT = 50
PREFIX = "rf:{floor:0}:"


def measure_floor(client: Any, runs: int, steps: int) -> tuple[float, float]:
    """CPU of the server in us per run: (enqueue, claim + steps + finish)."""
    stream = f"{PREFIX}q:default:0"
    client.delete(stream)
    client.xgroup_create(stream, "workers", "0", mkstream=True)
    ids = [new_run_id(0) for _ in range(runs)]
    before = server_us(client)
    for first in range(0, runs, COUNT):
        pipe = client.pipeline(transaction=False)
        for run_id in ids[first : first + COUNT]:
            fields = {"w": "steps-1", "i": INPUT_60, "c": "1795374921399", "s": "pending", "h": "0:60"}
            pipe.hset(f"{PREFIX}run:{run_id}", mapping=fields)
            pipe.xadd(stream, {"r": run_id})
            pipe.zadd(f"{PREFIX}runs:steps-1", {run_id: 1795374921399})
        pipe.execute()
    enqueued = server_us(client)
    record = "r" * (len(OUTPUT_40) + 18)
    while True:
        reply = client.xreadgroup("workers", "floor-worker-1234-abcdefgh", {stream: ">"}, count=COUNT)
        if not reply:
            break
        entries = [(entry, fields[b"r"].decode()) for entry, fields in reply[0][1]]
        pipe = client.pipeline(transaction=False)
        for _, run_id in entries:
            pipe.hset(f"{PREFIX}run:{run_id}", "f", "1:abcdefgh12")
            pipe.hgetall(f"{PREFIX}run:{run_id}")
        pipe.execute()
        for number in range(steps):
            pipe = client.pipeline(transaction=False)
            for _, run_id in entries:
                pipe.hset(f"{PREFIX}run:{run_id}", str(number), record)
            pipe.execute()
        pipe = client.pipeline(transaction=False)
        for entry, run_id in entries:
            fields = {"s": "succeeded", "t": "1795374921399", "o": OUTPUT_40}
            pipe.hset(f"{PREFIX}run:{run_id}", mapping=fields)
            pipe.xack(stream, "workers", entry)
            pipe.xdel(stream, entry)
            pipe.zadd(f"{PREFIX}done:steps-1:succeeded", {run_id: 1795374921399})
        pipe.execute()
    finished = server_us(client)
    for run_id in ids:
        client.unlink(f"{PREFIX}run:{run_id}")
    client.unlink(f"{PREFIX}runs:steps-1", f"{PREFIX}done:steps-1:succeeded", stream)
    return (enqueued - before) / runs, (finished - enqueued) / runs
