"""The codec chain alone: what is sealed opens in its own place, under any of the keys, and nowhere else."""

from __future__ import annotations

import os
import struct
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from redisflow import AesGcm, CannotDecode, CannotUnseal, Payloads, Zstd, codec
from redisflow.records import Call, StepSucceeded, TimerAsked, decode_record, encode_record
from redisflow.sealing import Seals
from redisflow.sealing.envelope import COMPRESSED, header_of, is_sealed
from redisflow.sealing.zstd import Compressor

RUN, OTHER_RUN = "0" * 32, "1" * 32
KEYS = {name: bytes([number]) * 32 for number, name in enumerate(["spring", "summer", "autumn"], 1)}


def seals(write: str | None = "spring", *, keys: dict[str, bytes] | None = None, **options) -> Seals:
    encrypt = None if write is None else AesGcm(write=write, keys=KEYS if keys is None else keys)
    return Seals(Payloads(encrypt=encrypt, **options), options.pop("namespace", "shop"))


def in_namespace(namespace: str) -> Seals:
    return Seals(Payloads(encrypt=AesGcm(write="spring", keys=KEYS)), namespace)


CHAINS = [Payloads(), Payloads(compress=True)] + [
    Payloads(compress=compress, encrypt=AesGcm(write=write, keys=KEYS))
    for compress in (False, True, Zstd(level=1, above=0))
    for write in KEYS
]


@given(data=st.binary(max_size=300) | st.binary(min_size=1, max_size=8).map(lambda part: part * 4000))
def test_what_any_chain_and_key_sealed_every_chain_that_has_the_key_opens(data: bytes):
    plain = codec.encode(data)
    for writer in CHAINS:
        sealed = Seals(writer, "shop").seal_now(plain, RUN, "input")
        for reader in CHAINS:
            if writer.encrypt is None or reader.encrypt is not None:
                assert Seals(reader, "shop").open_now(sealed, RUN, "input") == plain


def test_without_options_stored_bytes_are_what_they_were():
    for data in (b"", codec.encode("x"), codec.encode("x" * 100_000)):
        assert seals(None).seal_now(data, RUN, "input") is data


def test_small_values_are_not_compressed_and_large_ones_are_if_it_makes_them_smaller():
    chain = seals(None, compress=True)
    small, text, noise = b"\xc4" + b"x" * 900, b"\xc4" + b"x" * 9000, b"\xc4" + os.urandom(9000)
    assert chain.seal_now(small, RUN, "input") == small
    assert chain.seal_now(noise, RUN, "input") == noise
    assert len(chain.seal_now(text, RUN, "input")) < 100


def test_the_same_value_sealed_twice_does_not_look_the_same():
    chain = seals()
    assert chain.seal_now(b"\xa1x", RUN, "input") != chain.seal_now(b"\xa1x", RUN, "input")


def test_nothing_of_the_value_is_seen_in_its_sealed_form():
    value = codec.encode("4111 1111 1111 1111 " * 100)
    assert b"1111" not in seals(compress=True).seal_now(value, RUN, "input")


def test_the_key_of_a_run_is_the_expansion_of_the_named_key():
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    sealed = seals().seal_now(b"\xa1x", RUN, "record 3")
    header, nonce, rest = sealed[:12], sealed[12:24], sealed[24:]
    assert header == b"\xc1RF\x01\x02\x06spring"
    key = HKDFExpand(SHA256(), 32, b"redisflow run key 1\0shop\0" + RUN.encode()).derive(KEYS["spring"])
    about = b"".join(struct.pack(">I", len(part)) + part for part in (header, b"shop", RUN.encode(), b"record 3"))
    assert AESGCM(key).decrypt(nonce, rest, about) == b"\xa1x"


@pytest.mark.parametrize(
    ("opener", "run_id", "field"),
    [
        (seals(), RUN, "output"),
        (seals(), RUN, "record 1"),
        (seals(), OTHER_RUN, "input"),
        (in_namespace("shop2"), RUN, "input"),
        (seals(keys={**KEYS, "spring": bytes(32)}), RUN, "input"),
    ],
    ids=["another field", "a record", "another run", "another namespace", "another key of this name"],
)
def test_a_ciphertext_that_was_moved_does_not_open(opener: Seals, run_id: str, field: str):
    sealed = seals().seal_now(b"\xa6secret", RUN, "input")
    with pytest.raises(CannotUnseal, match=f"the {field} of run {run_id} does not open with key 'spring'") as caught:
        opener.open_now(sealed, run_id, field)
    assert "secret" not in str(caught.value)


def test_a_ciphertext_of_which_any_bit_was_changed_does_not_open():
    chain = seals(compress=Zstd(above=0))
    sealed = chain.seal_now(b"\xc4" + b"x" * 200, RUN, "input")
    for position in range(3, len(sealed)):
        for bit in (1, 128):
            changed = bytearray(sealed)
            changed[position] ^= bit
            with pytest.raises(CannotUnseal):
                chain.open_now(bytes(changed), RUN, "input")
    for length in range(3, len(sealed)):
        with pytest.raises(CannotUnseal):
            chain.open_now(sealed[:length], RUN, "input")


def test_an_unknown_key_is_named_and_so_are_the_known_ones():
    sealed = seals("autumn").seal_now(b"\xa1x", RUN, "input")
    with pytest.raises(CannotUnseal, match=r"with key 'autumn', which is not among the keys here .spring.: add it"):
        seals("spring", keys={"spring": KEYS["spring"]}).open_now(sealed, RUN, "input")
    with pytest.raises(CannotUnseal, match="with key 'autumn', and no keys are given here"):
        seals(None).open_now(sealed, RUN, "input")


def test_a_later_form_is_told_as_one():
    for later in (b"\xc1RF\x02\x00", b"\xc1RF\x01\x10"):
        with pytest.raises(CannotUnseal, match="a form that this redisflow does not know"):
            seals().open_now(later + b"body", RUN, "input")


def test_plain_values_are_read_until_that_is_forbidden():
    plain, packed = b"\xa1x", seals(None, compress=Zstd(above=0)).seal_now(b"\xa1" + b"x" * 100, RUN, "input")
    assert seals().open_now(plain, RUN, "input") == plain
    strict = seals(accept_plain=False)
    for data in (plain, packed):
        with pytest.raises(CannotUnseal, match="is not encrypted, and accept_plain is False"):
            strict.open_now(data, RUN, "input")
    assert strict.open_now(b"", RUN, "progress") == b""
    assert strict.open_now(strict.seal_now(plain, RUN, "input"), RUN, "input") == plain


def test_an_input_that_is_shared_opens_as_the_input_of_any_run_and_as_nothing_else():
    sealed = seals().seal_now(b"\xa1x", RUN, "input", shared="a key")
    assert seals("summer").open_now(sealed, OTHER_RUN, "input") == b"\xa1x"
    for opener, field in ((seals(), "output"), (in_namespace("shop2"), "input")):
        with pytest.raises(CannotUnseal, match="does not open"):
            opener.open_now(sealed, RUN, field)
    with pytest.raises(CannotUnseal, match="does not open"):
        seals().open_now(sealed.replace(b"a key", b"b key"), RUN, "input")
    assert seals(None).seal_now(b"\xa1x", RUN, "input", shared="a key") == b"\xa1x"


def test_a_signal_that_is_shared_opens_for_any_run_under_its_name_alone():
    sealed = seals().seal_now(b"\x01", "", "signal go", shared="broadcast")
    assert seals().open_now(sealed, RUN, "signal go") == seals().open_now(sealed, OTHER_RUN, "signal go") == b"\x01"
    for field in ("signal stop", "input", "output"):
        with pytest.raises(CannotUnseal, match="does not open"):
            seals().open_now(sealed, RUN, field)


# -- bounds ---------------------------------------------------------------------------------------------------------


# Prints by how many bytes the largest size of its process grew, over what opening something honest takes.
OPEN_IT = f"""
import sys
from redisflow import CannotUnseal, Payloads, Zstd
from redisflow.sealing import Seals
from tests.memory import peak_bytes
data = sys.stdin.buffer.read()
chain = Seals(Payloads(compress=Zstd(above=0)), "shop")
chain.open_now(chain.seal_now(bytes(1000), "{RUN}", "input"), "{RUN}", "input")
before = peak_bytes()
try:
    chain.open_now(data, "{RUN}", "input")
except CannotUnseal:
    print(peak_bytes() - before)
"""


def bomb(claimed: int, real: int, level: int = 1) -> bytes:
    packed = Compressor(Zstd(level=level, above=0), 1 << 40).compress(bytes(real))
    assert packed is not None
    return header_of(COMPRESSED) + struct.pack(">Q", claimed) + packed[8:]


@pytest.mark.parametrize(
    ("claimed", "level", "problem"),
    [
        (1 << 30, 1, "unfolds to 1,073,741,824 bytes, over the limit of 1,179,648: it is not opened"),
        (1000, 1, "does not unfold to the 1,000 bytes that it promises"),
        (1 << 20, 1, "does not unfold to the 1,048,576 bytes that it promises"),
        (1 << 20, 19, "cannot be decompressed"),
    ],
    ids=["honest", "lying", "lying within the limit", "with a window over the limit"],
)
def test_a_bomb_is_refused_without_its_memory(claimed: int, level: int, problem: str):
    data = bomb(claimed, 64 << 20, level)
    assert len(data) < 10_000
    with pytest.raises(CannotUnseal, match=problem):
        seals(None).open_now(data, RUN, "input")
    ran = subprocess.run([sys.executable, "-c", OPEN_IT], input=data, capture_output=True, check=True)
    assert int(ran.stdout) < 8 << 20, "it took memory for what it refused"


def test_compressed_bytes_that_are_none_are_told_as_damaged():
    frame = bomb(500, 500)[5:]
    for body in (b"", struct.pack(">Q", 5), struct.pack(">Q", 5) + b"hello", frame + b"more", frame[:-1], frame[:4]):
        with pytest.raises(CannotUnseal, match="is damaged"):
            seals(None).open_now(header_of(COMPRESSED) + body, RUN, "input")


# -- told from plain ------------------------------------------------------------------------------------------------


@given(key=st.text(min_size=1, max_size=128), payload=st.binary(max_size=40), at=st.integers(0, 1 << 50))
def test_no_plain_value_and_no_plain_record_begins_like_a_sealed_one(key: str, payload: bytes, at: int):
    call = Call(key, 1, -1)
    for record in (StepSucceeded(call, 1, at, at + 1, codec.encode(payload)), TimerAsked(call, at, at)):
        assert not is_sealed(encode_record(record, 0))
    assert not is_sealed(codec.encode(payload))


def test_whoever_is_not_told_of_seals_says_so():
    sealed = seals().seal_now(b"\xa1x", RUN, "input")
    with pytest.raises(CannotDecode, match=r"it is sealed .*RedisFlow.payloads=...."):
        codec.decode(sealed)
    with pytest.raises(CannotDecode, match="it is sealed"):
        decode_record(sealed, 0)


def test_a_fingerprint_tells_nothing_without_a_key_and_is_found_again_after_a_rotation():
    before, after = seals("spring"), seals("summer")
    plain = "ab" * 16
    assert plain != before.fingerprints(plain)[0] != after.fingerprints(plain)[0]
    assert before.fingerprints(plain)[0] in after.fingerprints(plain)
    assert after.fingerprints(plain)[-1] == plain
    assert seals(None).fingerprints(plain) == [plain]


# -- wrong use ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: AesGcm(write="a", keys={"a": b"short"}), "the key 'a' is 5 bytes: a key is 32 random bytes"),
        (lambda: AesGcm(write="a", keys={"a": "x" * 32}), "the key 'a' is a str: a key is 32 random bytes"),  # type: ignore[dict-item]
        (lambda: AesGcm(write="b", keys={"a": bytes(32)}), "the key to write with, 'b', is not among the keys .a."),
        (lambda: AesGcm(write="a", keys={}), "is not among the keys .none."),
        (lambda: AesGcm(write="a b", keys={"a b": bytes(32)}), "the key id 'a b' is not allowed"),
        (lambda: Zstd(level=99), "the level of Zstd is a whole number from 1 to 19, not 99"),
        (lambda: Zstd(above="much"), "above which Zstd compresses is a number of bytes or text such as '64KB'"),
        (lambda: Payloads(store_above="many"), "store_above is a number of bytes or text"),
        (lambda: Payloads(store_above=10), "store_above is at least 1024 bytes, not 10"),
        (lambda: Payloads(store_above="1MB", max_size="1KB"), "max_size .'1KB'. is less than store_above"),
        (lambda: Payloads(accept_plain=False), "accept_plain=False refuses what is not encrypted"),
    ],
)
def test_wrong_use_is_told_where_it_is_written(make, problem: str):
    with pytest.raises(ValueError, match=problem):
        make()


def test_keys_come_from_text_and_are_never_shown():
    keys = AesGcm.from_text(
        "new=AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=, old=AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="
    )
    assert keys == AesGcm(write="new", keys={"new": b"\1" * 32, "old": b"\2" * 32})
    assert repr(Payloads(encrypt=keys)).count("AesGcm(write='new')") == 1
    for text in ("AQEB", "a=%%%", "a=AQEB", "a=" + "AQEB" * 20, "a=,a=", ""):
        with pytest.raises(ValueError, match=r"item . of the keys is|the key 'a' is") as caught:
            AesGcm.from_text(text)
        assert "AQEB" not in str(caught.value)
