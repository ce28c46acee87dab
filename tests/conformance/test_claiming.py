from __future__ import annotations

import pytest

from redisflow import BackendError
from redisflow.contract import Extension, Mark, Verdict
from redisflow.errors import CannotDecode
from tests.conformance.world import T0, World, extend


async def test_runs_are_claimed_in_the_order_in_which_they_came(world: World):
    made = [await world.create() for _ in range(5)]
    first, second = await world.batch(limit=2), await world.batch("w2", limit=10)
    assert [claim.hold.run_id for claim in (*first.claims, *second.claims)] == made


async def test_woken_runs_come_before_new_ones_and_queues_in_the_order_asked_for(world: World):
    woken = await world.running()
    await world.backend.release_run(woken.hold)
    new = await world.create()
    mail = await world.create(queue="mail")
    claims = (await world.batch(queues=("mail", "default"))).claims
    assert [claim.hold.run_id for claim in claims] == [woken.hold.run_id, mail, new]


async def test_a_claim_that_is_repeated_gives_the_same_runs(world: World):
    made = [await world.create() for _ in range(3)]
    claim = world.backend.claim_runs
    first = await claim(0, "w1", "op-a", 10, ["default"])
    more = await world.create()
    before = world.snapshot()
    again = await claim(0, "w1", "op-a", 10, ["default"])
    assert world.snapshot() == before
    assert again.claims == first.claims
    assert [c.hold.run_id for c in first.claims] == made
    assert (await world.claim()).hold.run_id == more


async def test_a_repeated_claim_leaves_out_what_was_finished_or_taken_meanwhile(world: World):
    for _ in range(3):
        await world.create()
    first = await world.backend.claim_runs(0, "w1", "op-a", 10, ["default"])
    await world.finish(first.claims[0])
    await world.backend.cancel_run(first.claims[1].hold.run_id)
    again = await world.backend.claim_runs(0, "w1", "op-a", 10, ["default"])
    assert again.claims == first.claims[2:]


async def test_each_claim_has_a_fence_of_its_own(world: World):
    first = await world.running()
    await world.backend.release_run(first.hold)
    second = await world.claim("w2")
    assert second.hold.run_id == first.hold.run_id
    assert second.hold.fence != first.hold.fence
    assert second.started_at_ms == first.started_at_ms


async def test_a_claim_tells_when_the_next_run_is_due(world: World):
    world.at(T0)
    assert (await world.batch()).next_due_in_ms is None
    claim = await world.running()
    await world.park(claim, due_at_ms=T0 + 1_500)
    batch = await world.batch()
    assert (batch.now_ms, batch.next_due_in_ms) == (T0, 1_500)


async def test_an_entry_that_is_not_the_current_one_is_dropped(world: World):
    claim = await world.running()
    world.raw("XADD", world.stream("0"), "*", "r", claim.hold.run_id)
    world.raw("XADD", world.stream("w"), "*", "r", "nobody")
    assert (await world.batch("w2")).claims == []
    assert world.raw("XLEN", world.stream("0")) == 1
    assert world.raw("XLEN", world.stream("w")) == 0
    assert await world.finish(claim) is Verdict.OK


async def test_a_broken_run_stops_no_other(world: World):
    made = [await world.create() for _ in range(3)]
    world.raw("DEL", f"{world.prefix}run:{made[1]}")
    world.raw("SET", f"{world.prefix}run:{made[1]}", "no hash")
    batch = await world.batch()
    assert [claim.hold.run_id for claim in batch.claims] == [made[0], made[2]]
    assert batch.broken == 1


async def test_a_run_whose_mail_cannot_be_read_says_so_and_the_others_come_with_theirs(world: World):
    made = [await world.create() for _ in range(4)]
    for run_id in made:
        await world.backend.mail.signal_run(run_id, "go", b"\x01", once=run_id, keep_ms=1)
    of_a_later_version, of_another_type = (f"{world.prefix}mail:{run_id}" for run_id in made[1:3])
    world.raw("HSET", of_a_later_version, "1", b"z\nsomething new")
    world.raw("DEL", of_another_type)
    world.raw("SET", of_another_type, "no mailbox")
    first, later, other, last = (await world.batch()).claims
    assert [[mail.payload for mail in claim.mail] for claim in (first, last)] == [[b"\x01"], [b"\x01"]]
    assert (first.opening, last.opening) == (None, None)
    assert later.opening is not None
    with pytest.raises(CannotDecode, match="mail number 1 of this run cannot be read"):
        await later.opening
    assert other.opening is not None
    with pytest.raises(BackendError, match="WRONGTYPE"):
        await other.opening
    assert [await world.strand(claim) for claim in (later, other)] == [Verdict.OK, Verdict.OK]
    world.raw("HSET", of_a_later_version, "1", b"s\ngo\n\x02")
    assert await world.backend.wake_stuck("order") == 2
    claims = {claim.hold.run_id: claim for claim in (await world.batch()).claims}
    assert [mail.payload for mail in claims[made[1]].mail] == [b"\x02"]


@pytest.mark.parametrize(("field", "value"), [("c", "yesterday"), ("m", "some"), ("vd", "broken"), ("tg", b"\xff")])
async def test_a_run_whose_hash_cannot_be_read_says_so_and_can_be_put_aside(world: World, field: str, value: str):
    made = [await world.create() for _ in range(3)]
    world.raw("HSET", f"{world.prefix}run:{made[1]}", field, value)
    batch = await world.batch()
    assert [claim.hold.run_id for claim in batch.claims] == made
    assert [claim.opening is None for claim in batch.claims] == [True, False, True]
    assert batch.claims[1].opening is not None
    with pytest.raises(CannotDecode, match="damaged, or of a later version"):
        await batch.claims[1].opening
    assert await world.strand(batch.claims[1]) is Verdict.OK
    assert await world.finish(batch.claims[2]) is Verdict.OK


@pytest.mark.parametrize("name", [b"nobody", b"\xff\xff0000", b"01900000000070008000000000000001"])
async def test_what_is_no_run_of_this_partition_is_not_claimed_and_stops_no_other(world: World, name: bytes):
    made = await world.create()
    key = f"{world.prefix}run:".encode() + name
    entry = world.raw("XADD", world.stream("0"), "*", "r", name)
    fields = world.raw("HGETALL", f"{world.prefix}run:{made}")
    world.raw("HSET", key, *fields, "e", b"0:" + entry)
    batch = await world.batch()
    assert ([claim.hold.run_id for claim in batch.claims], batch.broken) == ([made], 1)
    world.raw("DEL", key)


async def test_a_lost_group_is_made_again_and_nothing_is_skipped(world: World):
    made = await world.create()
    await world.batch("other", queues=("elsewhere",))
    world.raw("XGROUP", "CREATE", world.stream("0"), "workers", "$")
    world.raw("XGROUP", "DESTROY", world.stream("0"), "workers")
    assert (await world.claim()).hold.run_id == made


@pytest.mark.parametrize(("records", "size"), [(10_000, 8), (1_000, 3_000), (3, 300_000), (1, 262_144)])
async def test_long_histories_come_back_whole(world: World, records: int, size: int):
    claim = await world.running(input=b"i" * 100)
    history = [b"%08d" % number + b"." * (size - 8) for number in range(records)]
    mark, commit = claim.mark, world.backend.commit_run
    for first in range(0, records, 500):
        extension = extend(mark, *history[first : first + 500])
        assert await commit(claim.hold, extension, renew_for=None, forget_crashes=False) is Verdict.OK
        mark = extension.after
    await world.backend.release_run(claim.hold)
    await world.create()
    long, short = (await world.batch()).claims
    assert (long.hold.run_id, long.mark) == (claim.hold.run_id, Mark(records, 100 + records * size))
    assert list(long.records) == history
    assert (long.input, short.input) == (b"i" * 100, b"\x01")
    assert await world.finish(long) is Verdict.OK


async def test_many_records_in_one_commit(world: World):
    claim = await world.running()
    extension: Extension = extend(claim.mark, *(b"%d" % number for number in range(9_000)))
    answer = await world.backend.commit_run(claim.hold, extension, renew_for=None, forget_crashes=False)
    assert answer is Verdict.OK
    assert world.field(claim.hold.run_id, "8999") == b"8999"
