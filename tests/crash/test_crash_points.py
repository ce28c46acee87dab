"""Crash points, exhaustively: the world stops at the n-th call of a worker, for every n, and another one finishes.

Each reference workflow runs once for each call that its worker makes, and each of three faults there: stopped before
the call is sent, stopped after it was executed, and its reply lost so that it is sent again. What section 1 of the
design promises is checked after each, and the key space is audited.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redisflow import AesGcm, FileStore, Payloads, RedisFlow, WorkflowHandle
from redisflow.runs import WorkflowRun
from tests.crash.audit import audit, leftovers
from tests.crash.harness import Crew, Fault, FaultyBackend, Journal
from tests.crash.reference import LARGE, REFERENCES, Reference
from tests.keyspace import Raw, raw_calls

WITHIN_S = 20.0
LEASE = "10m"
"""So long that nothing is mended by a lease that ends: those of a stopped world are aged."""
CALLS_AT_MOST = 300
AT_ONCE = 16


FAULTS = pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name.lower())
# On the server inside this process, which takes more time, those that write in the most ways.
SIGNALED = [reference for reference in REFERENCES if reference.name in {"signaled", "counted"}]
SOME = [reference for reference in REFERENCES if reference.name in {"retrying", "canceled", "unique", "counted"}]


@FAULTS
@pytest.mark.parametrize("reference", REFERENCES, ids=str)
async def test_a_run_survives_a_fault_at_any_call(reference: Reference, fault: Fault, valkey_url: str) -> None:
    await survives_everywhere(reference, fault, lambda: valkey_url)


@FAULTS
@pytest.mark.parametrize("reference", SOME, ids=lambda reference: reference.name)
async def test_a_run_in_memory_survives_a_fault_at_any_call(
    reference: Reference, fault: Fault, memory_url: str
) -> None:
    # A server of its own for each: nothing of one scenario is seen by the next.
    await survives_everywhere(reference, fault, lambda: f"{memory_url}crash-{secrets.token_hex(8)}")


@FAULTS
@pytest.mark.parametrize("reference", [LARGE, *SIGNALED], ids=lambda reference: reference.name)
async def test_a_run_with_sealed_and_stored_payloads_survives_a_fault_at_any_call(
    reference: Reference, fault: Fault, valkey_url: str, tmp_path: Path
) -> None:
    keys = AesGcm(write="key", keys={"key": bytes(32)})
    payloads = Payloads(compress=True, encrypt=keys, store=FileStore(tmp_path), store_above=1024)
    await survives_everywhere(reference, fault, lambda: valkey_url, payloads)


async def survives_everywhere(
    reference: Reference, fault: Fault, url: Callable[[], str], payloads: Payloads | None = None
) -> None:
    """At call 1, 2, 3, ..., some at the same time, until the run has ended before the call was made."""
    for first in range(1, CALLS_AT_MOST, AT_ONCE):
        calls = range(first, first + AT_ONCE)
        if not all(await asyncio.gather(*(survives(reference, fault, at, url(), payloads) for at in calls))):
            return
    pytest.fail(f"the run has not ended within {CALLS_AT_MOST} calls")


async def survives(
    reference: Reference,
    fault: Fault,
    at: int,
    url: str,
    payloads: Payloads | None,
    *,
    namespace: str | None = None,
    sabotage: Callable[[FaultyBackend], object] | None = None,
) -> bool:
    """One scenario; returns whether the fault happened before the run had ended.

    With `sabotage` the first worker's backend is given to it, and the fault happens there.
    """
    namespace = namespace or f"crash-{secrets.token_hex(6)}"
    raw, close = raw_calls(url)
    where = f"{reference.name}, {fault.name} call {at}"
    try:
        partitions = reference.partitions
        async with RedisFlow(url, namespace=namespace, partitions=partitions, payloads=payloads) as flow:
            crew = Crew(url, namespace, raw, payloads=payloads, partitions=partitions)
            try:
                for definition in reference.define(flow, crew.journal):
                    crew.know(definition)
                handle = await flow.run_workflow(reference.name, **reference.options)
                ended = asyncio.ensure_future(_wait_for_end(flow, handle.id))
                if sabotage is None:
                    first, backend = await crew.hire(fault=fault, at=at, lease=LEASE)
                else:
                    crew.prepare = sabotage
                    first, backend = await crew.hire(lease=LEASE)
                    crew.prepare = lambda _: None
                stopped = asyncio.ensure_future(backend.stopped.wait())
                await asyncio.wait({ended, stopped}, timeout=WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
                stopped.cancel()
                fired = backend.fired
                if backend.stopped.is_set():
                    await crew.dismiss(first)
                    # Sometimes its presence outlives its leases, as after a pause: then no crash is counted.
                    crew.age(presence=at % 2 == 0)
                    _, helper = await crew.hire(lease=LEASE)
                    await crew.reclaim(helper.real)
                async with asyncio.timeout(WITHIN_S):
                    await ended
                    # What is sabotaged is the outbox: its worker is to have its turn with what the end has caused.
                    while sabotage and not backend.stopped.is_set():
                        if not _has_posted(raw, namespace):
                            break
                        await asyncio.sleep(0.01)  # a server has no event
            finally:
                await crew.close()
            await sweep(flow, crew)
            run = await flow.get_run(handle.id)
            assert not _problems(reference, run, crew.journal), where
            await _check_outputs(reference, handle, where)
            assert not audit(raw, namespace, reference.partitions), where
            assert not leftovers(raw, namespace, reference.partitions), where
            return fired
    finally:
        close()


def _has_posted(raw: Raw, namespace: str) -> bool:
    return bool(raw("KEYS", f"rf:{{{namespace}:*}}:outbox"))


async def sweep(flow: RedisFlow, crew: Crew, *, age: bool = True) -> None:
    """Once nobody works any more, the consumers of those who said no good-bye can go, and nothing is left.

    What they had still to do across partitions is carried out first, and as if somebody had done so already.
    """
    if age:
        crew.age()
    for _ in range(3):  # what a parent left is canceled, and that is told to it
        for partition in range(crew.partitions):
            while await flow.backend.outbox.deliver(partition):
                pass
    for partition in range(crew.partitions):
        await flow.backend.sweep_workers(partition, "default")
        for lane in "w0":
            key = f"rf:{{{crew.namespace}:{partition}}}:q:default:{lane}"
            if crew.raw("EXISTS", key):
                assert crew.raw("XINFO", "CONSUMERS", key, "workers") == []


async def _wait_for_end(flow: RedisFlow, run_id: str) -> None:
    async with flow.backend.watch_end(run_id) as ticks:
        while True:
            end = await flow.backend.get_end(run_id)
            if end is not None and end.status in {"succeeded", "failed", "canceled"}:
                return
            await anext(ticks)


async def _check_outputs(reference: Reference, handle: WorkflowHandle[Any], where: str) -> None:
    """The workflow's code said everything once; a body all of it, again in each attempt that a crash made necessary."""
    events = [event async for event in handle.events(live=False)]
    assert [event.data for event in events if event.step is None] == reference.said, where
    for key, tokens in reference.tokens.items():
        said = [event.data for event in events if event.step == key]
        assert said[-len(tokens) :] == tokens, where
        assert len(said) <= 2 * len(tokens), where
    assert await handle.state() == reference.state, where


def _problems(reference: Reference, run: WorkflowRun, journal: Journal, most: int = 2) -> list[str]:
    found = list(journal.problems)

    def expect(holds: object, problem: str) -> None:
        if not holds:
            found.append(problem)

    expect(run.status == reference.status, f"it is {run.status}: {run.error}")
    expect(run.output == reference.output, f"its output is {run.output!r}")
    if reference.error:
        name = run.error.error_type.rpartition(".")[2] if run.error else None
        expect(name == reference.error, f"its error is {run.error!r}")
    starts = Counter((key.partition(":")[2], attempt) for key, attempt in journal.starts)
    # Once more than without the fault, at most: one crash repeats what was not recorded, and nothing else.
    expect(all(count <= most for count in starts.values()), f"bodies ran too often: {starts}")
    if reference.timed:
        return found
    expect({step.key: step.status for step in run.steps} == reference.steps, f"its steps are {run.steps}")
    for key in {*reference.steps, *reference.attempts} - reference.own:
        wanted = reference.attempts.get(key, 1)
        made = sorted(attempt for name, attempt in starts if name == key)
        expect(made == list(range(1, wanted + 1)), f"attempts of {key}: {made}, not 1 to {wanted}")
        step = run.step(key)
        # A script runs on the server: it has no body, and one attempt.
        expect(step is None or step.kind == "redis" or step.attempt == wanted, f"{step} should be of attempt {wanted}")
    expect(run.crashes == 0, f"it keeps a count of {run.crashes} crashes")
    return found
