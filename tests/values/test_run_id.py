"""Run ids: when a run was made, where it lives, and that no two are alike."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redisflow.errors import InvalidName
from redisflow.run_id import check_run_id, new_run_id, partition_for_key, partition_of

VERSION_4 = UUID("79969107-6106-4db6-8208-156b9b001942")
PARTITIONS = st.integers(0, 65_535)


@given(PARTITIONS)
def test_an_id_is_a_uuid_of_version_7_that_tells_its_partition(partition):
    before = time.time_ns() // 1_000_000
    run_id = new_run_id(partition)
    after = time.time_ns() // 1_000_000
    assert re.fullmatch(r"[0-9a-f]{32}", run_id)
    uuid = UUID(run_id)
    assert uuid.version == 7
    assert uuid.variant == RFC_4122
    assert before <= uuid.int >> 80 <= after
    assert partition_of(run_id) == partition
    assert check_run_id(run_id) == run_id


def test_ids_of_many_threads_are_all_different():
    ids: list[str] = []

    def work() -> None:
        ids.extend([new_run_id(0) for _ in range(5_000)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 20_000


def test_every_random_bit_of_an_id_varies():
    seen_set = seen_clear = 0
    for _ in range(400):
        number = int(new_run_id(0), 16)
        seen_set |= number
        seen_clear |= ~number
    random_bits = 0xFFF << 64 | ((1 << 46) - 1) << 16
    assert seen_set & seen_clear & random_bits == random_bits


# In a process of its own: a fork of one that has threads is a warning.
FORKED = """
import os
from redisflow.run_id import new_run_id
new_run_id(0)
tails = []
for _ in range(3):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, ",".join(new_run_id(0)[13:28] for _ in range(50)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    tails += os.read(reading, 65536).decode().split(",")
tails += [new_run_id(0)[13:28] for _ in range(50)]
print(len(tails), len(set(tails)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forked_processes_draw_other_random_bits():
    output = subprocess.run([sys.executable, "-c", FORKED], check=True, capture_output=True, text=True, cwd=Path.cwd())
    assert output.stdout.split() == ["200", "200"]


@pytest.mark.parametrize("partition", [-1, 65_536])
def test_a_partition_that_an_id_cannot_hold_is_refused(partition):
    with pytest.raises(InvalidName, match="65535"):
        new_run_id(partition)


@given(PARTITIONS)
def test_an_id_is_accepted_in_each_form_of_a_uuid_and_kept_in_one(partition):
    run_id = new_run_id(partition)
    dashed = str(UUID(run_id))
    assert {check_run_id(form) for form in (run_id, dashed, run_id.upper(), dashed.upper())} == {run_id}


@pytest.mark.parametrize(
    "wrong",
    ["", "run-1", None, 7, b"1" * 32, "g" * 32, "0" * 32, VERSION_4.hex, str(VERSION_4), "x" * 10_000, "é" * 32],
)
def test_what_is_no_run_id_is_refused(wrong):
    with pytest.raises(InvalidName, match="not a run id") as refused:
        check_run_id(wrong)
    assert len(str(refused.value)) < 250


@pytest.mark.parametrize("change", ["{}\n", " {}", "{}0", "-{}"])
def test_nothing_may_stand_around_an_id(change):
    with pytest.raises(InvalidName):
        check_run_id(change.format(new_run_id(0)))


def test_a_partition_of_what_is_no_id_is_refused():
    with pytest.raises(InvalidName):
        partition_of("zzzz")


@given(st.text(), st.integers(1, 65_536))
def test_a_key_has_one_partition(key, partitions):
    assert 0 <= partition_for_key(key, partitions) < partitions


def test_the_partition_of_a_key_never_changes():
    """It says where the runs of a key are: another hash would not find them again."""
    assert [partition_for_key(key, 16) for key in ("order-1", "order-2", "Müller", "\ud800")] == [15, 5, 5, 8]
    assert partition_for_key("order-1", 1) == 0
