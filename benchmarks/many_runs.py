"""A namespace that holds a million finished runs, made in a minute: copies of runs that the engine itself has ended.

For each workflow and outcome one run is started, worked on and ended as any other. Its hash is then copied by a script
under new ids, with other times and tags, and entered in the listings in which the engine would have entered it. The
audit, which knows what must be true of all keys at once, is asked whether the first copies are runs like the others.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

from redisflow import NonRetryableError, RedisFlow, Step
from redisflow.run_id import new_run_id
from redisflow.tags import encode_tags, tag_listing

CUSTOMERS = 1_000
REGIONS = ("eu", "us", "asia")
OUTCOMES = (("succeeded", 0.97), ("failed", 0.02), ("canceled", 0.01))
SPAN_MS = 7 * 86_400_000
"""The runs ended in the last seven days."""
BATCH = 1_000
AUDITED = 5_000

COPY = """
local prefix, workflow, status = KEYS[1], ARGV[1], ARGV[2]
local fields = redis.call('HGETALL', prefix .. 'run:' .. ARGV[3])
local place = {}
for at = 1, #fields, 2 do place[fields[at]] = at + 1 end
for at = 4, #ARGV, 5 do
  local id, created, took = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local tags, listings = ARGV[at + 3], ARGV[at + 4]
  local ended = string.format('%d', created + took)
  fields[place.c], fields[place.t], fields[place.tg] = ARGV[at + 1], ended, tags
  if place.a then fields[place.a] = ARGV[at + 1] end
  redis.call('HSET', prefix .. 'run:' .. id, unpack(fields))
  redis.call('ZADD', prefix .. 'done:' .. workflow .. ':' .. status, ended, id)
  for listing in string.gmatch(listings, '[^ ]+') do redis.call('ZADD', prefix .. listing, ARGV[at + 1], id) end
end
"""


def give(value: Any) -> Any:
    return value


async def work(outcome: str, step: Step) -> str:
    """Two steps, and an end as it is wanted."""
    await step.run("reserve", give, "a place in the store")
    if outcome == "failed":
        msg = "out of stock"
        raise NonRetryableError(msg)
    if outcome == "canceled":
        await step.wait_for_signal("never")
    return await step.run("charge", give, "charged")


async def make_many(flow: RedisFlow, client: Any, *, runs: int, workflows: int) -> str:
    """Fill the namespace; return in words what is there."""
    names = [f"workflow-{number:03}" for number in range(workflows)]
    for name in names:
        flow.define_workflow(name)(work)
    chance = random.Random(1)
    began_s = time.monotonic()
    templates = {name: await _templates(flow, name) for name in names}
    prefix = f"rf:{{{flow.namespace}:0}}:"
    copy = client.register_script(COPY)
    audited = made = 0
    shares = [(name, status, share / workflows) for name in names for status, share in OUTCOMES]
    for name, status, share in shares:
        left = round(runs * share)
        while left > 0:
            count = min(BATCH, left)
            rows = [text for _ in range(count) for text in _row(chance)]
            copy(keys=[prefix], args=[name, status, templates[name][status], *rows])
            left, made = left - count, made + count
            if not audited and made >= AUDITED:
                audited = await _check(flow)
    audited = audited or await _check(flow)
    return (
        f"{made:,} finished runs of {workflows} workflows in one partition, made in {time.monotonic() - began_s:.0f} s "
        f"(the audit found nothing wrong with {audited:,} of them)"
    )


async def _templates(flow: RedisFlow, name: str) -> dict[str, str]:
    """A run of each outcome, ended by the engine."""
    found: dict[str, str] = {}
    workflow = flow.find_workflow(name)
    async with flow.new_worker(grace=0):
        for status, _ in OUTCOMES:
            handle = await workflow.run(status, tags={"customer": "c0", "region": "eu"})
            while status == "canceled" and (await handle.get()).waiting_for != "signal":
                await asyncio.sleep(0.002)
            if status == "canceled":
                await handle.cancel()
            while not (await handle.get()).is_finished:
                await asyncio.sleep(0.002)
            found[status] = handle.id
    return found


def _row(chance: random.Random) -> list[str]:
    created_ms = int(time.time() * 1000) - chance.randrange(60_000, SPAN_MS)
    took_ms = int(chance.lognormvariate(5, 1))
    tags = {"customer": f"c{chance.randrange(CUSTOMERS)}", "region": chance.choice(REGIONS)}
    listings = " ".join(tag_listing(name, value) for name, value in tags.items())
    return [new_run_id(0), str(created_ms), str(min(took_ms, 50_000)), encode_tags(tags), listings]


async def _check(flow: RedisFlow) -> int:
    report = await flow.audit()
    assert not report.findings, str(report)
    return report.runs
