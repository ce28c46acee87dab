"""The contract of a sealed namespace: who calls sees plain values, and who looks at the server sees none."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from redisflow import (
    AesGcm,
    BackendError,
    CannotDecode,
    CannotUnseal,
    FileStore,
    Payloads,
    PayloadStoreUnavailable,
    PayloadTooLarge,
    codec,
)
from redisflow.backend.sealed_backend import SealedBackend
from redisflow.contract import Claim, Conflict, Created, DebounceRule, Hold, Idempotency, Mark, UniqueRule, Verdict
from redisflow.contract.lifecycle import Retried
from redisflow.records import Call, StepSucceeded, encode_record
from redisflow.run_id import new_run_id
from redisflow.schedule import ScheduleDefinition, plan
from redisflow.ticks import Ticks
from redisflow.worker.payload_sweep import sweep_once
from redisflow.worker.retention import RetentionService
from redisflow.worker.schedules import ScheduleService
from tests.conformance.world import T0, World, extend

KEYS = {"one": b"1" * 32, "two": b"2" * 32}
HOUR_MS = 3_600_000
SECRET = codec.encode("a secret")
LARGE = codec.encode(b"a large secret" + random.Random(1).randbytes(200_000))


def record(payload: bytes = SECRET, key: str = "secret-step") -> bytes:
    return encode_record(StepSucceeded(Call(key, 0, -1), 1, T0, T0 + 5, payload), T0)


class MoodyStore(FileStore):
    """A store on the file system that fails when it is told to, or takes its time."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.failures = 0
        self.calls = 0
        self.is_listed = True
        self.is_deleted = True
        self.gate = asyncio.Event()
        self.gate.set()
        self.written = asyncio.Event()
        self.answers = asyncio.Event()
        """Until it is set, whoever has written something is not told."""
        self.answers.set()
        self.listed = asyncio.Event()

    async def _mood(self) -> None:
        self.calls += 1
        await self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the store is away")

    async def put(self, folder: str, run_id: str, name: str, data: bytes) -> None:
        await self._mood()
        await super().put(folder, run_id, name, data)
        self.written.set()
        await self.answers.wait()

    async def get(self, folder: str, run_id: str, name: str, size: int) -> bytes | None:
        await self._mood()
        return await super().get(folder, run_id, name, size)

    async def delete_run(self, folder: str, run_id: str) -> None:
        if not self.is_deleted:
            raise ConnectionError("the store is away")
        await super().delete_run(folder, run_id)

    async def list_runs(self, folder: str) -> AsyncIterator[Sequence[str]]:
        if not self.is_listed:
            raise ConnectionError("the store is away")
        async for page in super().list_runs(folder):
            yield page
        self.listed.set()

    def folder(self) -> str:
        (found,) = self._root.iterdir()
        return found.name

    async def runs(self, folder: str) -> list[str]:
        return [run_id async for page in self.list_runs(folder) for run_id in page]


@pytest.fixture
def store(tmp_path: Path) -> MoodyStore:
    return MoodyStore(tmp_path)


@pytest.fixture
async def reopen(world: World, server_url: str, namespace: str) -> AsyncIterator[Callable[..., Any]]:
    """Return what opens the namespace with other options."""
    world.at(T0)
    opened: list[World] = []

    async def open_with(payloads: Payloads, **options: Any) -> World:
        backend = SealedBackend(server_url, namespace=namespace, clock="test", payloads=payloads, **options)
        other = World(backend, server_url)
        opened.append(other)
        await backend.open()
        other.at(T0)
        return other

    yield open_with
    for other in opened:
        other.close()
        await other.backend.close()


@pytest.fixture
async def sealed(reopen, store: MoodyStore) -> World:
    """Return the same namespace with everything switched on."""
    made: World = await reopen(everything(store))
    return made


def everything(store: FileStore | None, write: str = "one", **options: Any) -> Payloads:
    encrypt = AesGcm(write=write, keys=KEYS)
    return Payloads(compress=True, encrypt=encrypt, store=store, store_above=1024, **options)


def seen_on_the_server(world: World) -> bytes:
    return repr(world.snapshot()).encode()


def assert_marked_truly(world: World, run_id: str) -> None:
    """The mark in the hash is what is there: records, and the bytes of input and records."""
    mark = world.field(run_id, "h")
    assert mark is not None
    count, size = map(int, mark.split(b":"))
    names = ["i", *map(str, range(count))]
    assert size == sum(len(world.field(run_id, name) or b"") for name in names)


async def opened(claim: Claim) -> Claim:
    if claim.opening is not None:
        await asyncio.wait_for(claim.opening, 20)
    return claim


async def test_nothing_that_users_store_is_seen_on_the_server_and_all_of_it_comes_back(sealed: World):
    claim = await opened(await sealed.running(input=SECRET))
    assert (claim.input, claim.records) == (SECRET, [])
    first, second, failure = record(), record(LARGE), codec.encode(["ShopError", "a secret", "in shop.py"])
    assert await sealed.commit(claim, first) is Verdict.OK
    claim.mark = extend(claim.mark, first).after
    await sealed.backend.note_progress(claim.hold, codec.encode([["secret-step", 0, 1, T0, "secret"]]))
    assert await sealed.park(claim, second, due_at_ms=sealed.now_ms) is Verdict.OK
    again = await opened(await sealed.claim())
    assert (again.input, again.records) == (SECRET, [first, second])
    assert_marked_truly(sealed, claim.hold.run_id)
    assert await sealed.finish(again, record(key="third"), status="failed", payload=failure) is Verdict.OK
    assert_marked_truly(sealed, claim.hold.run_id)
    assert b"secret" not in seen_on_the_server(sealed).lower()
    end = await sealed.backend.get_end(claim.hold.run_id)
    assert end is not None
    assert (end.status, end.error) == ("failed", failure)
    run = await sealed.backend.get_workflow_run(claim.hold.run_id)
    assert run is not None
    assert (run.input, run.error.message if run.error else "") == ("a secret", "a secret")
    assert codec.encode(run.steps[0].output) == LARGE


async def test_a_suspended_run_shows_why(sealed: World):
    claim = await sealed.running()
    await sealed.suspend(claim, codec.encode(["Drift", "a secret reason", ""]))
    assert b"secret" not in seen_on_the_server(sealed)
    run = await sealed.backend.get_workflow_run(claim.hold.run_id)
    assert run is not None
    assert run.error is not None
    assert run.error.message == "a secret reason"


async def test_whoever_awaits_a_run_is_told_its_output(sealed: World):
    claim = await sealed.running()
    async with sealed.backend.watch_end(claim.hold.run_id) as ticks:
        await sealed.backend.get_end(claim.hold.run_id)
        await sealed.finish(claim, payload=LARGE)
        async with asyncio.timeout(20):
            while (told := await anext(ticks)) is None:
                pass
    assert (told.status, told.output) == ("succeeded", LARGE)


@pytest.mark.parametrize("payload", [SECRET, LARGE], ids=["small", "large"])
async def test_every_call_may_be_sent_again(sealed: World, payload: bytes):
    new = sealed.new(input=payload)
    for _ in range(2):
        assert await sealed.backend.create_run(new) == Created(new.run_id, existing=False)
    claim = await opened(await sealed.claim())
    assert claim.input == payload
    step = record(payload)
    assert await sealed.twice(lambda: sealed.commit(claim, step)) is Verdict.OK
    claim.mark = extend(claim.mark, step).after
    assert await sealed.twice(lambda: sealed.finish(claim, step, payload=payload)) is Verdict.OK
    assert_marked_truly(sealed, claim.hold.run_id)


async def test_plain_runs_go_on_when_it_is_switched_on_and_keys_change_under_way(
    world: World, reopen, store: MoodyStore
):
    step = record()
    claim = await world.running(input=SECRET)
    await world.park(claim, step, due_at_ms=world.now_ms)
    for write in KEYS:
        later = await reopen(everything(store, write))
        claim = await opened(await later.claim(f"worker-{write}"))
        assert claim.input == SECRET
        assert set(claim.records) == {step}
        await later.park(claim, step, due_at_ms=later.now_ms)
        assert_marked_truly(later, claim.hold.run_id)
    assert (await opened(await later.claim())).records == [step] * 3


async def test_a_run_that_cannot_be_read_says_so_and_the_others_are_claimed(sealed: World, reopen):
    unreadable = await sealed.create(input=SECRET)
    other = await reopen(Payloads(encrypt=AesGcm(write="two", keys={"two": KEYS["two"]})))
    readable = await other.create(input=SECRET)
    claims = {claim.hold.run_id: claim for claim in (await other.batch()).claims}
    assert (await opened(claims[readable])).input == SECRET
    with pytest.raises(CannotUnseal, match=f"the input of run {unreadable} is encrypted with key 'one', which is not"):
        await opened(claims[unreadable])
    assert await other.strand(claims[unreadable]) is Verdict.OK
    with pytest.raises(CannotUnseal, match="key 'one'"):
        await other.backend.get_workflow_run(unreadable)


async def test_a_run_whose_mail_cannot_be_read_says_so_although_its_input_can_be(sealed: World):
    run_ids = [await sealed.create(input=value) for value in (SECRET, LARGE, SECRET)]
    for run_id in run_ids:
        await sealed.backend.mail.signal_run(run_id, "go", SECRET, once=run_id, keep_ms=1)
    for run_id in run_ids[:2]:
        sealed.raw("HSET", f"{sealed.prefix}mail:{run_id}", "1", b"z\nsomething new")
    claims = (await sealed.batch()).claims
    for claim in claims[:2]:
        with pytest.raises(CannotDecode, match="mail number 1 of this run cannot be read"):
            await opened(claim)
        assert await sealed.strand(claim) is Verdict.OK
    assert [mail.payload for mail in (await opened(claims[2])).mail] == [SECRET]


async def test_the_store_is_not_asked_to_delete_what_is_no_run(sealed: World, store: MoodyStore):
    kept = await sealed.create(input=LARGE)
    for name in ("", ".", "..", f"../{store.folder()}/{kept}", kept.upper()):
        await sealed.backend.payloads.delete_run_payloads(name)
    assert await store.runs(store.folder()) == [kept]


async def test_what_is_not_in_the_store_any_more_is_told(sealed: World, store: MoodyStore):
    run_id = await sealed.create(input=LARGE)
    await sealed.backend.payloads.delete_run_payloads(run_id)
    with pytest.raises(CannotUnseal, match=f"the input of run {run_id} is not in MoodyStore|FileStore"):
        await opened(await sealed.claim())


# -- the store ------------------------------------------------------------------------------------------------------


async def test_a_commit_waits_for_the_store_and_what_follows_waits_for_the_commit(sealed: World, store: MoodyStore):
    claim = await sealed.running()
    store.gate.clear()
    step = record(LARGE)
    commit = sealed.backend.commit_run(claim.hold, extend(claim.mark, step), renew_for=None, forget_crashes=False)
    claim.mark = extend(claim.mark, step).after
    finish = sealed.backend.finish_run(claim.hold, extend(claim.mark), status="succeeded", payload=SECRET)
    await sealed.backend.note_progress(claim.hold, codec.encode([]))
    assert not commit.done()
    assert not finish.done()
    store.gate.set()
    assert [await commit, await finish] == [Verdict.OK, Verdict.OK]
    assert_marked_truly(sealed, claim.hold.run_id)


async def test_a_run_can_be_given_back_while_the_store_is_away(sealed: World, store: MoodyStore):
    claim = await sealed.running()
    store.gate.clear()
    step = record(LARGE)
    commit = sealed.backend.commit_run(claim.hold, extend(claim.mark, step), renew_for=None, forget_crashes=False)
    assert await sealed.backend.release_run(claim.hold) is Verdict.OK
    store.gate.set()
    assert commit.cancelled()
    assert (await opened(await sealed.claim())).records == []


async def test_a_worker_that_dies_between_store_and_commit_leaves_only_what_goes_with_the_run(
    sealed: World, reopen, store: MoodyStore
):
    claim = await opened(await sealed.running(input=LARGE))
    store.calls = 0
    store.gate.clear()
    step = record(LARGE)
    commit = sealed.backend.commit_run(claim.hold, extend(claim.mark, step), renew_for=None, forget_crashes=False)
    async with asyncio.timeout(20):
        while store.calls == 0:  # noqa: ASYNC110  # it is in a thread before
            await asyncio.sleep(0)
    sealed.age(claim)
    await sealed.backend.close()
    assert commit.cancelled()
    store.gate.set()
    other = await reopen(everything(store))
    await store.put(store.folder(), claim.hold.run_id, "aa", b"what was written, and never committed")
    while not (await other.backend.reclaim_runs(0, "default", 30_000, 3)).done:
        pass
    again = await opened(await other.claim("w2"))
    assert again.records == []
    assert await other.finish(again, step, payload=LARGE) is Verdict.OK
    assert_marked_truly(other, claim.hold.run_id)
    await other.backend.payloads.delete_run_payloads(claim.hold.run_id)
    assert await store.runs(store.folder()) == []


async def test_a_store_that_fails_for_a_while_delays_and_loses_nothing(sealed: World, store: MoodyStore):
    store.failures = 2
    claim = await sealed.running(input=LARGE)
    store.failures = 1
    assert (await opened(claim)).input == LARGE
    store.failures = 3
    assert await sealed.finish(claim, payload=LARGE) is Verdict.OK
    store.failures = 2
    end = await sealed.backend.get_end(claim.hold.run_id)
    assert end is not None
    assert end.output == LARGE


async def test_a_client_is_told_that_the_store_is_away(sealed: World, reopen, store: MoodyStore):
    impatient = await reopen(everything(store), call_timeout_s=0.3)
    run_id = await impatient.create(input=LARGE)
    store.failures = 1000
    with pytest.raises(
        PayloadStoreUnavailable, match=r"the input of run \w+ is not written, for 0.3 s: FileStore.*away"
    ):
        await impatient.create(input=LARGE)
    with pytest.raises(PayloadStoreUnavailable, match=f"the input of run {run_id} is not read"):
        await impatient.backend.get_workflow_run(run_id)


async def test_a_store_that_cannot_be_used_fails_the_opening(world: World, reopen, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(PayloadStoreUnavailable, match="the payload store cannot be used"):
        await reopen(everything(FileStore(tmp_path / "file")))


async def test_the_sweep_deletes_what_no_run_has_and_nothing_else(sealed: World, reopen, store: MoodyStore):
    kept, deleted = await sealed.create(input=LARGE), await sealed.create(input=LARGE)
    folder = store.folder()
    young = new_run_id(0)
    await store.put(folder, "not-a-run", "aa", b"x")
    await store.put(folder, young, "aa", b"x")
    sealed.raw("DEL", f"{sealed.prefix}run:{deleted}")
    assert await sealed.backend.payloads.sweep_payloads(60_000, 0) == 0
    assert await sealed.backend.payloads.sweep_payloads(-60_000, 0) == 2
    assert sorted(await store.runs(folder)) == sorted([kept, "not-a-run"])
    # Another namespace of this name, say on another server, has a folder of its own.
    sealed.raw("HDEL", f"{sealed.prefix}meta", "store")
    other = await reopen(everything(store))
    assert await other.backend.payloads.sweep_payloads(-60_000, 0) == 0
    assert sorted(await store.runs(folder)) == sorted([kept, "not-a-run"])


async def test_a_worker_sweeps_what_is_older_than_a_day_and_leaves_it_for_later_where_it_cannot(
    sealed: World, store: MoodyStore, caplog
):
    kept = await sealed.create(input=LARGE)
    day_ms = 24 * HOUR_MS
    now_ms = time.time_ns() // 1_000_000
    ages = {f"{now_ms - age_ms:012x}7{'0' * 3}8{'0' * 15}": age_ms for age_ms in (day_ms - 60_000, day_ms + 60_000)}
    young, old = ages
    for run_id in ages:
        await store.put(store.folder(), run_id, "aa", b"x")
    store.is_listed = False
    assert await sweep_once(sealed.backend, again_after_ms=0) == 0
    assert "left for later: the payload store cannot be listed: FileStore" in caplog.text
    store.is_listed = True
    assert await sweep_once(sealed.backend, again_after_ms=0) == 1
    assert sorted(await store.runs(store.folder())) == sorted([kept, young])
    assert old not in await store.runs(store.folder())


async def test_an_input_whose_run_is_about_to_be_created_is_not_swept_however_old_its_id(
    sealed: World, store: MoodyStore
):
    # That of a child, whose parent is older than a day.
    old = f"{time.time_ns() // 1_000_000 - 25 * HOUR_MS:012x}7{'0' * 3}8{'0' * 15}"
    store.answers.clear()
    starting = asyncio.create_task(sealed.create(run_id=old, input=LARGE))
    await store.written.wait()
    sweeping = asyncio.create_task(sealed.backend.payloads.sweep_payloads(24 * HOUR_MS, 500))
    await store.listed.wait()
    store.answers.set()
    assert (await starting, await sweeping) == (old, 0)
    stored = await sealed.backend.read_run(old)
    assert stored is not None
    assert stored[b"i"] == LARGE


async def test_a_sweep_is_bounded_and_the_next_one_goes_on(sealed: World, store: MoodyStore, monkeypatch):
    monkeypatch.setattr("redisflow.backend.payloads.SWEPT_AT_MOST", 2)
    kept = await sealed.create(input=LARGE)
    for _ in range(3):
        await store.put(store.folder(), new_run_id(0), "aa", b"x")
    assert await sealed.backend.payloads.sweep_payloads(-60_000, 0) == 2
    assert await sealed.backend.payloads.sweep_payloads(-60_000, 0) == 1
    assert await store.runs(store.folder()) == [kept]


async def test_runs_are_purged_where_their_store_is_away_and_what_they_have_there_is_swept(
    sealed: World, store: MoodyStore, caplog, monkeypatch
):
    monkeypatch.setattr("redisflow.sealing.stored.DELETE_S", 0.05)
    claims = [await sealed.running(input=LARGE) for _ in range(2)]
    for claim in claims:
        await sealed.finish(claim)
    sealed.later(30 * 24 * 3600 * 1000)
    store.is_deleted = False
    assert await RetentionService(sealed.backend, 0, "w1", 15).run_once() == 2
    assert "payloads of deleted runs are left to the sweep" in caplog.text
    assert len(await store.runs(store.folder())) == 2
    store.is_deleted = True
    assert await sealed.backend.payloads.sweep_payloads(-60_000, 0) == 2


# -- starting -------------------------------------------------------------------------------------------------------


async def test_an_idempotency_key_works_over_a_rotation_and_shows_no_hash_of_the_input(
    world: World, reopen, store: MoodyStore
):
    idem = Idempotency(key_hash="k" * 32, fingerprint="f" * 32, keep_ms=60_000)
    first = await reopen(everything(store, "one"))
    run_id = await first.create(idempotency=idem)
    assert b"f" * 32 not in seen_on_the_server(first)
    second = await reopen(everything(store, "two"))
    new = second.new(idempotency=idem, input=LARGE)
    assert await second.backend.create_run(new) == Created(run_id, existing=True)
    conflict = second.new(idempotency=replace(idem, fingerprint="e" * 32))
    assert await second.backend.create_run(conflict) == Conflict(run_id)
    async with asyncio.timeout(20):
        folder = store.folder()
        while await store.runs(folder) != []:  # noqa: ASYNC110  # what the refused start had there
            await asyncio.sleep(0)


async def test_starts_under_rules_are_sealed_and_a_debounced_run_takes_the_input_of_the_last(sealed: World):
    later = codec.encode("a later secret")
    debounce = [DebounceRule(key_hash="d" * 32, delay_ms=1000, at_most_ms=None)]
    first, second = sealed.new(input=SECRET), sealed.new(input=later)
    for new in (first, second):
        made = await sealed.backend.starts.start_run(new, debounce)
        assert made.run_id == first.run_id
    unique = [UniqueRule(key_hash="u" * 32, on_conflict="reject")]
    only, other = sealed.new(input=LARGE, workflow="other"), sealed.new(input=LARGE, workflow="other")
    for new in (only, other):
        assert (await sealed.backend.starts.start_run(new, unique)).run_id == only.run_id
    assert b"secret" not in seen_on_the_server(sealed)
    sealed.later(1001)
    claims = {claim.hold.run_id: await opened(claim) for claim in (await sealed.batch()).claims}
    assert {run_id: claim.input for run_id, claim in claims.items()} == {first.run_id: later, only.run_id: LARGE}
    with pytest.raises(PayloadTooLarge, match="the input of a debounced start of 'order'"):
        await sealed.backend.starts.start_run(sealed.new(input=bytes(1 << 21)), debounce)


async def test_a_run_that_was_claimed_in_another_way_is_not_written(sealed: World):
    claim = await sealed.running()
    bare = Hold(claim.hold.run_id, claim.hold.queue, claim.hold.fence, claim.hold.entry)
    with pytest.raises(BackendError, match="was not claimed through this backend"):
        sealed.backend.commit_run(bare, extend(Mark(0, 0)), renew_for=None, forget_crashes=False)


# -- what a person does to runs -------------------------------------------------------------------------------------


async def test_a_record_that_is_put_aside_is_sealed_for_the_run_that_begins_with_it(sealed: World, store: MoodyStore):
    calls, records = sealed.backend.lifecycle, [record(), record(LARGE), record(SECRET, "secret-last")]
    idem = Idempotency(key_hash="k" * 32, fingerprint="f" * 32, keep_ms=60_000)

    async def fork() -> Created | Conflict:
        new = sealed.new(input=SECRET, idempotency=idem)
        mark = await calls.stage_records(new.run_id, records)
        fields: dict[str, Any] = {"a": T0, "f": "0:-", "h": str(mark)}
        return await sealed.backend.create_run(replace(new, fields=fields))

    made = await fork()
    assert b"secret" not in seen_on_the_server(sealed)
    assert await fork() == Created(made.run_id, existing=True)
    async with asyncio.timeout(20):
        while await store.runs(store.folder()) != [made.run_id]:  # noqa: ASYNC110  # what the other had there goes
            await asyncio.sleep(0)
    claim = await opened(await sealed.claim())
    assert (claim.hold.run_id, claim.input, list(claim.records)) == (made.run_id, SECRET, records)
    stored = sealed.snapshot()[f"{sealed.prefix}run:{made.run_id}"]
    assert claim.mark == Mark(3, sum(len(stored[name]) for name in (b"i", b"0", b"1", b"2")))
    assert await sealed.finish(claim, record(SECRET, "secret-more")) is Verdict.OK


async def test_what_a_retry_appends_is_sealed_and_asked_again_it_changes_nothing(sealed: World):
    claim = await sealed.running(input=SECRET)
    await sealed.finish(claim, record(), status="failed", payload=codec.encode("a secret failure"))
    calls, run_id = sealed.backend.lifecycle, claim.hold.run_id
    fields = await calls.read_fields(run_id)
    assert fields is not None
    assert (fields[b"0"], fields[b"er"]) == (record(), codec.encode("a secret failure"))
    before, moot = Mark.parse(fields[b"h"].decode()), record(LARGE, "secret-moot")
    extension = extend(before, moot)
    retried = await sealed.twice(lambda: calls.retry_run(run_id, extension, retry=1, deadline=None))
    assert retried == Retried("retried")
    assert b"secret" not in seen_on_the_server(sealed)
    again = await opened(await sealed.claim())
    assert list(again.records) == [record(), moot]
    assert await sealed.finish(again, record(SECRET, "secret-more")) is Verdict.OK


# -- schedules ------------------------------------------------------------------------------------------------------


def nightly(data: bytes = SECRET, **changes: Any) -> ScheduleDefinition:
    wanted: dict[str, Any] = {"overlap": "skip", "catch_up": "all", "ticks": Ticks(every_ms=60_000), **changes}
    return ScheduleDefinition(id="nightly", workflow="order", version=None, queue="default", input=data, **wanted)


async def fired(world: World) -> str:
    """What becomes of the first tick that is due."""
    due = await world.backend.schedules.due(0)
    assert due.unreadable == []
    (info,) = due.schedules
    firing = plan(info, world.now_ms)
    assert firing is not None
    return await world.backend.schedules.fire(info, firing)


@pytest.mark.parametrize("data", [SECRET, LARGE], ids=["small", "large"])
async def test_the_input_of_a_schedule_is_sealed_for_it_and_for_each_of_its_runs(
    reopen, store: MoodyStore, data: bytes
):
    world = await reopen(everything(store, accept_plain=False))
    calls = world.backend.schedules
    made = nightly(data)
    await world.twice(lambda: calls.put(made))
    info = await calls.get("nightly")
    assert info is not None
    assert info.definition == made
    world.later(60_000)
    assert await fired(world) == "created"
    assert b"secret" not in seen_on_the_server(world)
    tick = await world.claim()
    assert (await opened(tick)).input == data
    world.later(60_000)
    assert await fired(world) == "skipped"
    assert await calls.trigger(await calls.get("nightly"), new_run_id(0)) == "skipped"
    if data is LARGE:
        assert await store.runs(store.folder()) == [tick.hold.run_id], "what was skipped is gone"
    await world.finish(tick)
    triggered = new_run_id(0)
    assert await calls.trigger(await calls.get("nightly"), triggered) == "created"
    by_hand = await opened(await world.claim())
    assert (by_hand.hold.run_id, by_hand.input) == (triggered, data)


async def test_a_schedule_follows_a_rotation_and_loses_no_tick(world: World, reopen, store: MoodyStore):
    made = nightly()
    await world.backend.schedules.put(made)
    plain = world.raw("HGETALL", f"{world.prefix}schedule:nightly")
    assert SECRET in plain
    world.later(90_000)
    before = None
    for number, payloads in enumerate([everything(store, "one"), everything(store, "two", accept_plain=False)]):
        other = await reopen(payloads)
        other.at(T0 + 90_000)
        if number == 1:
            problems = (await other.backend.schedules.due(0)).unreadable
            assert problems == [], "the key of before opens it"
        await other.twice(lambda calls=other.backend.schedules: calls.put(made))
        stored = other.raw("HGETALL", f"{world.prefix}schedule:nightly")
        assert SECRET not in stored
        assert stored != before
        before = stored
        info = await other.backend.schedules.get("nightly")
        assert (info.definition, info.revision, info.next_ms) == (made, 1, (T0 // 60_000 + 1) * 60_000)
    assert await fired(other) == "created"


async def test_a_plain_schedule_is_told_where_nothing_plain_is_accepted(world: World, reopen):
    await world.backend.schedules.put(nightly())
    strict = await reopen(everything(None, accept_plain=False))
    strict.later(60_000)
    due = await strict.backend.schedules.due(0)
    assert due.schedules == []
    assert "the input of schedule nightly is not encrypted" in due.unreadable[0]
    with pytest.raises(CannotUnseal):
        await strict.backend.schedules.get("nightly")
    await strict.backend.schedules.put(nightly())
    assert await fired(strict) == "created"


async def test_a_tick_whose_input_cannot_be_stored_now_is_fired_later(reopen, store: MoodyStore, caplog):
    world = await reopen(everything(store), call_timeout_s=0.5)
    await world.backend.schedules.put(nightly(LARGE))
    world.later(60_000)
    store.failures = 1_000_000
    service = ScheduleService(world.backend, 0, "w1")
    assert await service.run_once() > 0
    assert "schedule.failed nightly: it is tried again" in caplog.text
    store.failures = 0
    await service.run_once()
    assert (await opened(await world.claim())).input == LARGE
