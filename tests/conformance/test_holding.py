from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from redisflow.contract import Claim, Verdict
from tests.conformance.world import LEASE_MS, T0, World, extend

Call = Callable[[World, Claim], Awaitable[Verdict]]

CALLS: dict[str, Call] = {
    "commit": lambda world, claim: world.commit(claim, b"r1", renew_for="w1", forget_crashes=True),
    "park": lambda world, claim: world.park(claim, b"r1", due_at_ms=T0 + 60_000),
    "retry": lambda world, claim: world.park(claim, b"r1", due_at_ms=T0 + 60_000, reason="retry"),
    "finish": lambda world, claim: world.finish(claim, b"r1"),
    "fail": lambda world, claim: world.backend.finish_run(
        claim.hold, extend(claim.mark, b"r1"), status="failed", payload=b"\x90"
    ),
    "release": lambda world, claim: world.backend.release_run(claim.hold),
    "strand": lambda world, claim: world.strand(claim),
    "suspend": lambda world, claim: world.suspend(claim),
    "progress": lambda world, claim: world.backend.note_progress(claim.hold, b"\x90"),
}
AFTERWARDS = {
    "commit": "running",
    "park": "waiting:timer",
    "retry": "waiting:retry",
    "finish": "succeeded",
    "fail": "failed",
    "release": "pending",
    "strand": "waiting:stranded",
    "suspend": "waiting:suspended",
    "progress": "running",
}
every_call = pytest.mark.parametrize("name", CALLS)
extending = pytest.mark.parametrize("name", ["commit", "park", "retry", "finish", "fail"])


@every_call
async def test_a_holder_moves_its_run_and_may_say_so_twice(world: World, name: str):
    world.at(T0)
    claim = await world.running()
    answer = await world.twice(lambda: CALLS[name](world, claim))
    assert answer is Verdict.OK
    assert world.field(claim.hold.run_id, "s") == AFTERWARDS[name].encode()


@every_call
async def test_after_a_run_was_taken_its_last_holder_changes_nothing(world: World, name: str):
    world.at(T0)
    claim = await world.running()
    world.age(claim)
    assert (await world.backend.reclaim_runs(0, "default", LEASE_MS, 3)).reclaimed == 1
    assert await world.unchanged(lambda: CALLS[name](world, claim)) is Verdict.FENCED
    second = await world.claim("w2")
    assert await world.unchanged(lambda: CALLS[name](world, claim)) is Verdict.FENCED
    assert await world.finish(second) is Verdict.OK


@every_call
async def test_two_holders_with_the_same_count_are_told_apart(world: World, name: str):
    world.at(T0)
    claim = await world.running()
    count, _, _ = claim.hold.fence.partition(":")
    zombie = replace(claim, hold=replace(claim.hold, fence=f"{count}:another"))
    assert await world.unchanged(lambda: CALLS[name](world, zombie)) is Verdict.FENCED


@every_call
async def test_a_canceled_run_has_no_holder(world: World, name: str):
    world.at(T0)
    claim = await world.running()
    assert await world.backend.cancel_run(claim.hold.run_id) == "canceled"
    answer = await world.unchanged(lambda: CALLS[name](world, claim))
    assert answer is (Verdict.FENCED if name == "progress" else Verdict.ENDED)


@every_call
async def test_a_run_that_is_not_stored_is_missing(world: World, name: str):
    world.at(T0)
    claim = await world.running()
    world.raw("DEL", f"{world.prefix}run:{claim.hold.run_id}")
    answer = await world.unchanged(lambda: CALLS[name](world, claim))
    assert answer is (Verdict.FENCED if name == "progress" else Verdict.MISSING)


@extending
async def test_a_record_of_another_length_is_not_extended(world: World, name: str):
    world.at(T0)
    claim = await world.running()
    assert await world.commit(claim, b"a", b"b") is Verdict.OK
    assert await world.unchanged(lambda: CALLS[name](world, claim)) is Verdict.BEHIND


@extending
async def test_a_passed_deadline_ends_the_run_instead(world: World, name: str):
    from redisflow.durations import When

    world.at(T0)
    claim = await world.running(deadline=When(10_000, relative=True))
    assert claim.deadline_at_ms == T0 + 10_000
    world.later(10_000)
    assert await CALLS[name](world, claim) is Verdict.ENDED
    end = await world.backend.get_end(claim.hold.run_id)
    assert end is not None
    assert (end.status, end.cause) == ("failed", "deadline")
    assert await world.unchanged(lambda: CALLS[name](world, claim)) is Verdict.ENDED


async def test_records_follow_each_other_over_several_commits(world: World):
    claim = await world.running()
    first = extend(claim.mark, b"a", b"bb")
    second = extend(first.after, b"ccc")
    for extension in (first, second):
        commit = world.backend.commit_run(claim.hold, extension, renew_for=None, forget_crashes=False)
        assert await commit is Verdict.OK
    await world.backend.release_run(claim.hold)
    again = await world.claim()
    assert (list(again.records), again.mark) == ([b"a", b"bb", b"ccc"], second.after)


async def test_a_commit_renews_the_lease_where_it_is_asked_to(world: World):
    claim = await world.running()
    world.age(claim)
    assert await world.commit(claim, b"r", renew_for="w1") is Verdict.OK
    assert (await world.backend.reclaim_runs(0, "default", LEASE_MS, 3)).reclaimed == 0
    world.age(claim)
    unrenewed = replace(claim, mark=extend(claim.mark, b"r").after)
    assert await world.commit(unrenewed, b"s") is Verdict.OK
    assert (await world.backend.reclaim_runs(0, "default", LEASE_MS, 3)).reclaimed == 1


async def test_a_finished_run_leaves_only_its_hash_and_its_place_in_a_listing(world: World):
    claim = await world.running()
    await world.backend.note_progress(claim.hold, b"\x90")
    await world.finish(claim, b"r")
    run_id = claim.hold.run_id
    assert world.raw("XLEN", world.stream("0")) == 0
    assert world.pending(world.stream("0")) == []
    assert world.raw("ZSCORE", f"{world.prefix}runs:order", run_id) is None
    assert world.raw("ZSCORE", f"{world.prefix}done:order:succeeded", run_id) is not None
    assert world.field(run_id, "p") is None
    end = await world.backend.get_end(run_id)
    assert end is not None
    assert (end.workflow, end.status, end.output, end.error, end.cause) == ("order", "succeeded", b"\x02", None, None)


async def test_a_large_outcome_comes_back_as_it_was(world: World):
    claim = await world.running()
    payload = b"\x00\xff" * (1 << 19)
    assert await world.finish(claim, b"r" * 70_000, payload=payload) is Verdict.OK
    end = await world.backend.get_end(claim.hold.run_id)
    assert end is not None
    assert end.output == payload


async def test_a_released_run_counts_no_crash(world: World):
    claim = await world.running()
    for worker in ("w2", "w3", "w4", "w5"):
        await world.backend.release_run(claim.hold)
        claim = await world.claim(worker)
        assert claim.crashes == 0
    assert claim.hold.fence.startswith("5:")
