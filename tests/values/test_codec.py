"""The codec: what was encoded comes back with the same value and the same types, or was refused."""

from __future__ import annotations

import collections
import dataclasses
import enum
import math
import struct
import threading
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from redisflow.codec import MAX_DEPTH, MAX_ITEMS, decode, encode
from redisflow.errors import CannotDecode, CannotRecord

ZONES = (UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York"), timezone(timedelta(hours=-3, microseconds=7)))
OFFSETS = st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59)).map(timezone)
TIME_ZONES = st.none() | st.sampled_from(ZONES) | OFFSETS


@st.composite
def datetimes(draw: st.DrawFn) -> datetime:
    # Hypothesis would shift what a zone skips; the codec keeps even that.
    moment = draw(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31)))  # noqa: DTZ001 - bounds are naive
    return moment.replace(tzinfo=draw(TIME_ZONES), fold=draw(st.sampled_from((0, 1))))


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(2**300), max_value=2**300),
    st.floats(),
    st.complex_numbers(),
    st.text(),
    st.binary(),
    st.uuids(),
    st.decimals(),
    st.dates(),
    st.timedeltas(),
    st.times(timezones=st.none() | st.sampled_from(ZONES)),
    datetimes(),
)
HASHABLE = SCALARS.filter(lambda value: not (isinstance(value, Decimal) and value.is_snan()))
KEYS = st.recursive(HASHABLE, lambda key: st.tuples(key, key) | st.frozensets(key, max_size=3), max_leaves=4)
VALUES = st.recursive(
    SCALARS | st.binary().map(bytearray),
    lambda value: st.one_of(
        st.lists(value, max_size=4),
        st.lists(value, max_size=4).map(tuple),
        st.dictionaries(KEYS, value, max_size=4),
        st.sets(KEYS, max_size=4),
        st.frozensets(KEYS, max_size=4),
    ),
    max_leaves=12,
)


def form(value: Any) -> Any:
    """Return what tells two values apart: unlike `==`, the types, NaN, the sign of zero and time zones too."""
    kind = type(value)
    if kind is float:
        return kind, struct.pack(">d", value) if not math.isnan(value) else "nan"
    if kind is complex:
        return kind, form(value.real), form(value.imag)
    if kind is Decimal:
        return kind, value.as_tuple()
    if kind in (datetime, time):
        zone = value.tzinfo
        return kind, value.replace(tzinfo=None).isoformat(), value.fold, type(zone), str(zone), value.utcoffset()
    if kind in (list, tuple):
        return kind, [form(item) for item in value]
    if kind is dict:
        return kind, [(form(key), form(item)) for key, item in value.items()]
    if kind in (set, frozenset):
        return kind, sorted(repr(form(item)) for item in value)
    return kind, value


@settings(max_examples=400)
@given(VALUES)
@example(bytearray(b"x"))
@example([{"a": (bytearray(b"x"), b"y")}, {b"k": {1: bytearray()}}])
@example("Ā to ƿ has the bytes that open binary data")
@example(2**64)
@example(-(2**63) - 1)
@example(datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1))
@example(datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1), "CET")))
@example(Decimal("sNaN123"))
@example({1: "int", "1": "str", (1,): "tuple", None: "none", b"1": "bytes"})
def test_every_value_comes_back_with_its_types(value):
    assert form(decode(encode(value))) == form(value)


@given(st.dictionaries(st.text(), st.integers()))
def test_a_dict_keeps_its_order(value):
    assert list(decode(encode(value))) == list(value)


@given(st.lists(KEYS, max_size=8), st.randoms())
def test_equal_sets_have_equal_bytes_in_whatever_order_they_were_filled(members, random):
    members = list({encode(member): member for member in members}.values())
    shuffled = random.sample(members, len(members))
    distinct = {repr(member): member for member in members}
    if len(set(members)) == len(distinct):  # 1, 1.0 and True are one member: which of them stays is the set's choice
        assert encode(set(members)) == encode(set(shuffled))
        assert encode(frozenset(members)) == encode(frozenset(shuffled))


def test_a_zone_that_is_neither_named_nor_fixed_keeps_its_offset():
    class Odd(tzinfo):
        def utcoffset(self, _when: datetime | None) -> timedelta:
            return timedelta(hours=2)

        def dst(self, _when: datetime | None) -> None:
            return None

        def tzname(self, _when: datetime | None) -> None:
            return None

    moment = datetime(2026, 1, 1, tzinfo=Odd())
    back = decode(encode(moment))
    assert back == moment
    assert back.utcoffset() == timedelta(hours=2)


def test_a_zone_without_an_offset_is_refused():
    class Nowhere(tzinfo):
        def utcoffset(self, _when: datetime | None) -> None:
            return None

        dst = tzname = utcoffset

    with pytest.raises(CannotRecord, match="gives no offset"):
        encode(time(1, tzinfo=Nowhere()))


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Name(str):
    __slots__ = ()


class Point(NamedTuple):
    x: int


@dataclasses.dataclass
class Plain:
    x: int


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (Colour.RED, "-> Colour"),
        (Level.LOW, "-> Level"),
        (Plain(1), "-> Plain"),
        (Point(1), "-> Point"),
        (Name("x"), "a plain str"),
        (collections.defaultdict(int), "a plain dict"),
        (collections.OrderedDict(), "a plain dict"),
        (memoryview(b"x"), "make it bytes"),
        (iter([1]), "make it a list"),
        (Fraction(1, 2), "record its parts"),
        (Path("x"), "record its parts"),
        (object(), "record its parts"),
        (Colour, "record its parts"),
    ],
)
def test_what_would_come_back_as_another_type_is_refused_with_advice(value, advice):
    with pytest.raises(CannotRecord, match=advice) as refused:
        encode(value)
    assert type(value).__name__ in str(refused.value)
    for nested in ([value], (value,), {"k": value}):
        with pytest.raises(CannotRecord, match=advice):
            encode(nested)


async def test_what_has_not_been_awaited_is_refused_by_that_name():
    async def body() -> int:
        return 1

    coroutine = body()
    with pytest.raises(CannotRecord, match="has not been awaited"):
        encode({"result": coroutine})
    assert await coroutine == 1


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"items": [0, 0, 0, {"price": Colour.RED}]}, "at $.items[3].price:"),
        ({"a b": (1, Colour.RED)}, "at $['a b'][1]:"),
        ({1: {Colour.RED}}, "at $[1]{...}:"),
        ({Colour.RED: 1}, "at $[key <Colour>]:"),
        ({"t": ("\ud800",)}, "at $.t[0]:"),
        ([[memoryview(b"")]], "at $[0][0]:"),
    ],
)
def test_a_refusal_says_where(value, place):
    with pytest.raises(CannotRecord) as refused:
        encode(value)
    assert str(refused.value).startswith(place)


def test_text_that_utf8_cannot_hold_is_refused():
    with pytest.raises(CannotRecord, match="lone surrogates"):
        encode("\ud800")


def nested(levels: int, wrap: Any) -> Any:
    value: Any = "leaf"
    for _ in range(levels):
        value = wrap(value)
    return value


WRAPS = {
    "list": lambda value: [value],
    "dict": lambda value: {"k": value},
    "tuple": lambda value: (value,),
    "frozenset": lambda value: frozenset({value}),
    "key": lambda value: {(value,) if isinstance(value, str) else "k": [value]}["k"] if value != "leaf" else [value],
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_nesting_ends_at_the_same_depth_for_encoding_and_decoding(wrap):
    deepest = nested(MAX_DEPTH, wrap)
    assert decode(encode(deepest)) == deepest
    for levels in (MAX_DEPTH + 1, 200, 5_000):
        with pytest.raises(CannotRecord, match="nested more than 64"):
            encode(nested(levels, wrap))


@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa0"])
@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 600, 100_000])
def test_bytes_nested_too_deep_are_refused(opening, levels):
    with pytest.raises(CannotDecode):
        decode(opening * levels + b"\xc0")


def test_values_that_contain_themselves_are_refused():
    through_a_list: list[Any] = []
    through_a_list.append(through_a_list)
    through_a_tuple: list[Any] = []
    through_a_tuple.append(({"k": through_a_tuple},))
    wide: list[Any] = []
    wide.extend([[wide, wide], (wide, wide)] * 3)
    for value in (through_a_list, through_a_tuple, wide):
        with pytest.raises(CannotRecord, match="contains itself"):
            encode(value)


def test_a_value_that_is_shared_many_times_is_walked_once_a_level():
    value: Any = [bytearray(b"x")]
    for _ in range(12):
        value = [value, value]
    assert decode(encode(value)) == value


def test_a_collection_over_the_limit_is_refused_before_it_could_not_be_read():
    most = [0] * MAX_ITEMS
    assert len(decode(encode(most))) == MAX_ITEMS
    for value in ([*most, 0], {"k": (*most, 0)}):
        with pytest.raises(CannotRecord, match="over the limit of 1000000"):
            encode(value)


@settings(max_examples=600)
@given(st.binary(max_size=200))
@example(b"\xd6\xff\x00\x00\x00\x01")
@example(b"\xd7\xff" + b"\xff" * 8)
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdf\x00\x0f\x42\x40" + b"\xc0" * 9)
@example(b"\x81\x90\x01")
@example(b"\xc7\x0b\x07NaN" + b"\xff" * 8)
@example(b"\xc7\x0fz../../etc/passwd")
@example(b"\xc1")
@example(b"\xc0\xc0")
def test_bytes_of_any_kind_are_decoded_or_refused_as_such(data):
    try:
        value = decode(data)
    except CannotDecode:
        return
    assert form(decode(encode(value))) == form(value)


@settings(max_examples=300)
@given(VALUES, st.data())
def test_damaged_records_are_decoded_or_refused_as_such(value, data):
    record = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 4))):
        record[data.draw(st.integers(0, len(record) - 1))] = data.draw(st.integers(0, 255))
    try:
        again = decode(bytes(record))
    except CannotDecode:
        return
    assert form(decode(encode(again))) == form(again)


@pytest.mark.parametrize("payload", [b"", b"\xff", b"\xff" * 10, b"\xff" * 16, b"z", b"\x81\x01\x01"])
def test_extensions_of_any_number_and_content_are_decoded_or_refused_as_such(payload):
    refusals = 0
    for code in range(256):
        try:
            decode(bytes((0xC7, len(payload), code)) + payload)
        except CannotDecode:
            refusals += 1
    assert refusals > 240


def test_bytes_after_the_value_are_refused():
    with pytest.raises(CannotDecode, match="ExtraData"):
        decode(encode(1) + encode(2))


def test_a_type_of_a_later_version_is_refused_with_a_reason():
    with pytest.raises(CannotDecode, match="later version"):
        decode(b"\xd4\x63\x00")


def test_stored_forms_stay_readable():
    """Records live for months: where one of these lines must change, runs have become unreadable."""
    moment = datetime(2026, 11, 22, 10, 30, 5, 7)  # noqa: DTZ001 - naive ones are recorded too
    stored = [
        ("81 a16b 95 01 c0 c3 cb4004000000000000 c40162", {"k": [1, None, True, 2.5, b"b"]}),
        ("c70301 92 01 02", (1, 2)),
        ("c70502 92 a161 a162", {"b", "a"}),
        ("d503 91 01", frozenset({1})),
        ("c70904 010000000000000000", 2**64),
        ("d605 62797465", bytearray(b"byte")),
        ("d806 0000000000000000 3ff0000000000000", 1j),
        ("d607 312e3530", Decimal("1.50")),
        ("d808 12345678123456781234567812345678", UUID("12345678123456781234567812345678")),
        ("c70b09 07ea0b160a1e05 00000007", moment),
        ("c70c09 07ea0b160a1e05 00000007 75", moment.replace(tzinfo=UTC)),
        (
            "c71909 07ea0b160a1e05 00100007 7a 4575726f70652f4265726c696e",
            moment.replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
        ),
        (
            "c71709 07ea0b160a1e05 00000007 6f 00000000d693a400 434554",
            moment.replace(tzinfo=timezone(timedelta(hours=1), "CET")),
        ),
        ("d60a 07ea0b16", date(2026, 11, 22)),
        ("c7070b 010203 00000004", time(1, 2, 3, 4)),
        ("c70c0c 00000001 00000002 00000003", timedelta(1, 2, 3)),
    ]
    for data, value in stored:
        assert encode(value) == bytes.fromhex(data)
        assert form(decode(bytes.fromhex(data))) == form(value)


def test_threads_encode_at_the_same_time():
    values = [{"n": number, "t": (number, {number, str(number)}), "b": bytearray(8)} for number in range(50)]
    expected = [encode(value) for value in values]
    wrong: list[int] = []

    def work() -> None:
        for _ in range(20):
            wrong.extend(i for i, value in enumerate(values) if encode(value) != expected[i])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert decode(expected[7]) == values[7]


def test_lowering_stands_in_for_what_an_annotation_restores():
    def lower(value: object) -> object:
        if isinstance(value, enum.Enum):
            return value.value
        if isinstance(value, Fraction):
            return value.numerator << 70
        raise TypeError("no form")

    assert decode(encode({"c": [Colour.RED], Colour.RED: {Level.LOW}}, lower=lower)) == {"c": ["red"], "red": {1}}
    assert decode(encode((Fraction(3), (Colour.RED,)), lower=lower)) == (3 << 70, ("red",))
    with pytest.raises(CannotRecord, match=r"at \$\.x: .*object.*no form"):
        encode({"x": object()}, lower=lower)


def test_lowering_that_never_ends_is_refused():
    with pytest.raises(CannotRecord, match="object"):
        encode(object(), lower=lambda value: value)
