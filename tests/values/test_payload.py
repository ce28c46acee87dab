"""Payloads: values come back as what their annotations say, or are refused before they are recorded."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, Never, TypeVar
from uuid import UUID

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PlainSerializer, RootModel, SecretStr, computed_field
from pydantic.dataclasses import dataclass as pydantic_dataclass
from typing_extensions import TypedDict

from redisflow import codec
from redisflow.errors import CannotDecode, CannotRecord, PayloadTooLarge
from redisflow.payload import PayloadType
from redisflow.size_limit import check_size

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    DEEP = ("deep", 1)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Kind(enum.StrEnum):
    A = "a"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Line(NamedTuple):
    sku: str
    pieces: int = 1


class Extra(TypedDict, total=False):
    note: str
    level: Level


@dataclasses.dataclass(frozen=True)
class Address:
    street: str
    tags: frozenset[str] = frozenset()


@pydantic_dataclass
class Checked:
    size: int
    where: Address | None = None


class Receipt(BaseModel):
    payment_id: str
    approved: bool


class Order(BaseModel):
    id: UUID
    colour: Colour
    lines: list[Line]
    address: Address
    extra: Extra = {}
    total: Decimal = Decimal(0)
    placed_at: datetime
    due: date | None = None
    weights: tuple[float, ...] = ()
    levels: dict[Level, set[Kind]] = {}
    checked: Checked | None = None
    raw: bytes = b""
    before: Order | None = None


class Aliased(BaseModel):
    user_name: str = Field(alias="userName")
    kind: str = Field("k", validation_alias=AliasChoices("p", "q"), serialization_alias="z")


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    side: int

    @computed_field
    def area(self) -> int:
        return self.side**2


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)
    colour: Colour
    when: datetime


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int


class ByValue(BaseModel):
    model_config = ConfigDict(use_enum_values=True)
    kind: Kind


class Box(BaseModel, Generic[T]):
    item: T


class Numbers(RootModel[list[int]]):
    pass


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    lives: int = 1


class Places(BaseModel):
    path: Path
    address: IPv4Address
    url: pydantic.AnyUrl
    secret: SecretStr
    span: timedelta


# What they are made from is not what they are.
READ_FROM_TEXT = (pydantic.Base64Bytes, pydantic.Json[list[int]])
Pet = Annotated[Cat | Dog, Field(discriminator="kind")]
NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
ORDER = Order(
    id=UUID(int=7),
    colour=Colour.DEEP,
    lines=[Line("a"), Line("b", 2)],
    address=Address("Main Street", frozenset({"x", "y"})),
    extra={"level": Level.HIGH},
    total=Decimal("1.50"),
    placed_at=NOW,
    due=NOW.date(),
    weights=(1.0, 2.5),
    levels={Level.LOW: {Kind.A}},
    checked=Checked(3, Address("Side Street")),
    raw=b"\x00",
)


def same(was: Any, now: Any) -> bool:
    """Tell whether two values are equal and of the same types, in depth."""
    if type(was) is not type(now):
        return False
    if isinstance(was, BaseModel):
        return same(dict(was), dict(now)) and was.model_extra == now.model_extra
    if dataclasses.is_dataclass(was) and not isinstance(was, type):
        return same(vars(was), vars(now))
    if isinstance(was, Mapping):
        return was.keys() == now.keys() and all(same(was[key], now[key]) for key in was)
    if isinstance(was, (list, tuple)):
        return len(was) == len(now) and all(map(same, was, now))
    if isinstance(was, (set, frozenset)):
        return was == now and {type(item) for item in was} == {type(item) for item in now}
    if isinstance(was, Decimal):
        return str(was) == str(now)
    return bool(was == now or was != was)  # noqa: PLR0124 - NaN


COMES_BACK: list[tuple[Any, Any]] = [
    (Receipt, Receipt(payment_id="p", approved=True)),
    (Order, ORDER),
    (Order, ORDER.model_copy(update={"before": ORDER})),
    (list[Order], [ORDER]),
    (Order | None, ORDER),
    (Order | None, None),
    (Order | str, "text"),
    (Order | str, ORDER),
    (Aliased, Aliased(userName="u", p="x")),
    (Computed, Computed(side=3)),
    (Strict, Strict(colour=Colour.RED, when=NOW)),
    (Open, Open(a=1, b=[2, {"c": None}])),
    (ByValue, ByValue(kind=Kind.A)),
    (Box[int], Box[int](item=1)),
    (Box[Order], Box[Order](item=ORDER)),
    (Box[Box[Colour]], Box[Box[Colour]](item=Box[Colour](item=Colour.RED))),
    (Box, Box(item=1)),
    (Numbers, Numbers([1, 2])),
    (Pet, Dog()),
    (list[Pet], [Cat(lives=3), Dog()]),
    (Places, Places(path=Path("/x"), address="10.0.0.1", url="http://x/", secret="s3", span=timedelta(1))),
    (Address, Address("s")),
    (Checked, Checked(1, Address("s"))),
    (Line, Line("a", 2)),
    (dict[str, Line], {"x": Line("a")}),
    (Extra, {"level": Level.LOW, "note": "n"}),
    (Extra, {}),
    (Colour, Colour.RED),
    (Colour, Colour.DEEP),
    (Level, Level.HIGH),
    (Kind, Kind.A),
    (Rights, Rights.READ | Rights.WRITE),
    (Kind | None, None),
    (frozenset[Colour], frozenset({Colour.RED})),
    (dict[Colour, int], {Colour.RED: 1}),
    (tuple[int, str, Colour], (1, "a", Colour.RED)),
    (Literal["a", 1], 1),
    (Literal[Kind.A], Kind.A),
    (Path, Path("/x/y")),
    (IPv4Address, IPv4Address("10.0.0.1")),
    (SecretStr, SecretStr("s3cret")),
    (re.Pattern[str], re.compile("a+")),
    (Sequence[int], (1, 2)),
    (Mapping[str, Colour], {"a": Colour.RED}),
    (collections.deque[Colour], collections.deque([Colour.RED])),
    (collections.Counter[str], collections.Counter("aab")),
    (collections.defaultdict[str, int], collections.defaultdict(int, {"a": 1})),
    (collections.OrderedDict[str, int], collections.OrderedDict(b=1, a=2)),
    (pydantic.Base64Bytes, b"hi"),
    (pydantic.Json[list[int]], [1, 2]),
    (pydantic.JsonValue, {"a": [1, None, {"b": True}]}),
    (Annotated[int, Field(gt=0)], 5),
    (str, "x"),
    (int, 2**80),
    (float, 0.5),
    (bool, True),
    (bytes, b"x"),
    (bytearray, bytearray(b"x")),
    (complex, 1j),
    (Decimal, Decimal("sNaN")),
    (datetime, NOW),
    (UUID, UUID(int=1)),
    (type(None), None),
    (int | str | None, "7"),
    (int | str | None, 7),
    (float | int, 1),
    (date | datetime, datetime(2026, 1, 1)),  # noqa: DTZ001 - naive ones are recorded too
    (list[int] | tuple[int, ...], (1,)),
    (str | bytes | UUID, UUID(int=3)),
    (dict[str, Any], {"a": [1, (2, {3}), NOW]}),
    (dict[str, object], {"a": UUID(int=1)}),
    (list, [1, "a", (2,), {"b": None}]),
    (tuple, (1, [2])),
    (Any, {"a": (1, frozenset({2}))}),
    (None, {1: bytearray(b"x")}),
]


@pytest.mark.parametrize(("annotation", "value"), COMES_BACK, ids=range(len(COMES_BACK)))
def test_a_value_comes_back_as_what_its_annotation_says(annotation, value):
    payload = PayloadType.of(annotation)
    data = payload.encode(value)
    assert same(payload.decode(data), value)
    recorded, seen = payload.record(value)
    assert recorded == data
    assert same(seen, value)


@pytest.mark.parametrize(("annotation", "value"), COMES_BACK, ids=range(len(COMES_BACK)))
def test_a_value_that_is_valid_stays_what_it_is(annotation, value):
    if annotation not in READ_FROM_TEXT:
        assert same(PayloadType.of(annotation).validate(value), value)


def test_a_secret_keeps_its_real_value():
    payload = PayloadType.of(Box[SecretStr])
    back = payload.decode(payload.encode(Box(item=SecretStr("s3cret"))))
    assert back.item.get_secret_value() == "s3cret"


NUMBERS = st.decimals(allow_nan=False, allow_infinity=False)  # pydantic takes no others
ORDERS = st.builds(
    Order,
    id=st.uuids(),
    colour=st.sampled_from(Colour),
    lines=st.lists(st.builds(Line, st.text(), st.integers()), max_size=3),
    address=st.builds(Address, st.text(), st.frozensets(st.text(), max_size=2)),
    extra=st.fixed_dictionaries({}, optional={"note": st.text(), "level": st.sampled_from(Level)}),
    total=NUMBERS,
    placed_at=st.datetimes(timezones=st.sampled_from([None, UTC])),
    due=st.none() | st.dates(),
    weights=st.lists(st.floats(allow_nan=False), max_size=3).map(tuple),
    levels=st.dictionaries(st.sampled_from(Level), st.sets(st.sampled_from(Kind))),
    checked=st.none() | st.builds(Checked, st.integers(), st.none() | st.builds(Address, st.text())),
    raw=st.binary(max_size=5),
)
UNIONS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int | str | bytes | float | None, st.none() | st.integers() | st.text() | st.binary() | st.floats()),
    (datetime | date | Decimal | UUID, st.datetimes() | st.dates() | NUMBERS | st.uuids()),
    (Order | int | str, ORDERS | st.integers() | st.text()),
    (list[Line] | list[Address], st.lists(st.builds(Line, st.text()), min_size=1, max_size=2)),
    (dict[str, Any], st.dictionaries(st.text(), st.integers() | st.lists(st.tuples(st.text(), st.none())))),
]


@settings(max_examples=60)
@given(ORDERS)
def test_any_order_comes_back(order):
    payload = PayloadType.of(Order)
    data, seen = payload.record(order)
    assert same(seen, order)
    assert same(payload.decode(data), order)


@settings(max_examples=40)
@given(st.data())
@pytest.mark.parametrize(("annotation", "values"), UNIONS, ids=range(len(UNIONS)))
def test_the_choices_of_a_union_come_back_as_themselves(annotation, values, data):
    value = data.draw(values)
    payload = PayloadType.of(annotation)
    assert same(payload.decode(payload.encode(value)), value)


@settings(max_examples=100)
@given(st.sampled_from([Order, Receipt, str, int, Pet, dict[str, int], Line, Colour, None]), st.binary(max_size=60))
def test_bytes_of_any_kind_are_decoded_or_refused_as_such(annotation, data):
    with contextlib.suppress(CannotDecode):
        PayloadType.of(annotation).decode(data)


class PaidReceipt(Receipt):
    paid_at: int = 0


class SealedReceipt(Receipt):
    pass


class Holder(BaseModel):
    receipt: Receipt


class Twin(BaseModel):
    payment_id: str
    approved: bool


class Hidden(BaseModel):
    shown: int
    hidden: int = Field(1, exclude=True)


class Growing(BaseModel):
    n: int

    @pydantic.field_validator("n")
    @classmethod
    def grow(cls, n: int) -> int:
        return n + 1


class Positive(BaseModel):
    n: int = Field(gt=0)


class Loose(BaseModel):
    anything: Any


Formatted = Annotated[datetime, PlainSerializer(lambda moment: f"on {moment:%A}")]

HALF: Receipt = Receipt.model_construct(**dict[str, Any](payment_id=7))

REFUSED: list[tuple[Any, Any, str]] = [
    # What is not what its annotation says.
    (Receipt, {"payment_id": "p", "approved": True}, "type dict does not fit its annotation Receipt"),
    (str, 5, "type int does not fit its annotation str"),
    (type(None), 5, "does not fit its annotation NoneType"),
    (int, Level.LOW, "-> Level"),
    (list[int], [Level.LOW], r"at \$\[0\]: .*-> Level"),
    (list[int], (1,), "type tuple does not fit"),
    (list[int], ["a"], "does not fit"),
    (Receipt, HALF, "does not fit its annotation Receipt"),
    # What an annotation that says nothing cannot restore.
    (None, Receipt(payment_id="p", approved=True), "-> Receipt"),
    (None, {"a": [Colour.RED]}, r"at \$\.a\[0\]: .*-> Colour"),
    (Any, Address("s"), "-> Address"),
    (dict[str, Any], {"r": Receipt(payment_id="p", approved=True)}, r"at \$\.r: .*-> Receipt"),
    (list, [Line("a")], "-> Line"),
    (object, Level.LOW, "-> Level"),
    (Loose, Loose(anything=[Colour.RED]), r"at \$\.anything\[0\], .*RED.* as a value of type str"),
    (Loose, Loose(anything={"r": Receipt(payment_id="p", approved=True)}), r"\$\.anything\['r'\], .*Receipt .*dict"),
    (Loose, Loose(anything=Address("s")), "Address would come back as a value of type dict"),
    (Loose, Loose(anything=Line("a")), "Line would come back as a value of type tuple"),
    (Loose, Loose(anything={Level.LOW: 1}), "LOW"),
    (Loose, Loose(anything={Kind.A}), "Kind.A"),
    (Loose, Loose(anything=Path("/x")), "Path would come back as a value of type str"),
    (Loose, Loose(anything=collections.deque([1])), "deque would come back as a value of type list"),
    (Open, Open(a=1, b=Colour.RED), r"at \$\.b"),
    (dict[Any, Receipt], {Kind.A: Receipt(payment_id="p", approved=True)}, "Kind.A"),
    # What one of two choices that look alike would take for itself.
    (Receipt | Twin, Twin(payment_id="p", approved=True), "Twin would come back as a value of type Receipt"),
    (Kind | str, Kind.A, "Kind.A"),
    (str | Path, Path("/x"), "would come back as a value of type str"),
    # What would be lost on the way.
    (Receipt, PaidReceipt(payment_id="p", approved=True), "PaidReceipt .*paid_at"),
    (Holder, Holder(receipt=PaidReceipt(payment_id="p", approved=True)), r"at \$\.receipt, .*paid_at"),
    (list[Receipt], [PaidReceipt(payment_id="p", approved=True)], r"at \$\[0\], .*paid_at"),
    (BaseModel, Receipt(payment_id="p", approved=True), "payment_id"),
    (Hidden, Hidden(shown=1, hidden=2), r"at \$\.hidden, .*another value"),
    (Extra, {"note": "n", "other": 1}, "would come back with 1|would not come back"),
    (re.Pattern[str], re.compile("a", re.IGNORECASE), "another value"),
    # What validation would make something else of.
    (Growing, Growing(n=1), r"at \$\.n, .*another value"),
    (Formatted, NOW, "would not come back"),
    (Literal[Colour.RED], Colour.RED, "-> Colour"),
    # What its own type refuses.
    (list[Decimal], [Decimal("NaN")], "would not come back from its record: .*finite"),
    (Annotated[int, Field(gt=0)], -1, "would not come back from its record: .*greater than 0"),
    (Positive, Positive.model_construct(n=-1), "would not come back from its record: .*greater than 0"),
    (type[int], int, "cannot be recorded|Unable to serialize"),
]


@pytest.mark.parametrize(("annotation", "value", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_a_value_that_would_come_back_as_another_is_refused(annotation, value, reason):
    payload = PayloadType.of(annotation)
    with pytest.raises(CannotRecord, match=reason):
        payload.encode(value)
    with pytest.raises(CannotRecord, match=reason):
        payload.record(value)


def test_a_subclass_with_the_same_fields_comes_back_as_the_class_that_is_annotated():
    payload = PayloadType.of(Receipt)
    sealed = SealedReceipt(payment_id="p", approved=True)
    back = payload.decode(payload.encode(sealed))
    assert type(back) is Receipt
    assert back.payment_id == "p"


def test_a_generic_model_without_its_parameter_comes_back_with_it():
    payload = PayloadType.of(Box[int])
    assert type(payload.decode(payload.encode(Box(item=1)))) is Box[int]


def test_a_number_takes_the_type_that_is_annotated():
    for annotation, value, expected in ((float, 1, 1.0), (list[float], [1, 2.5], [1.0, 2.5])):
        payload = PayloadType.of(annotation)
        assert same(payload.decode(payload.encode(value)), expected)
        assert same(payload.record(value)[1], expected)


def test_a_subclass_of_a_built_in_type_becomes_the_type_that_is_annotated():
    class Metres(float):
        def __repr__(self) -> str:
            return "m"

    for annotation, value, expected in ((float, Metres(1), 1.0), (list[float], [Metres(1)], [1.0])):
        payload = PayloadType.of(annotation)
        assert same(payload.decode(payload.encode(value)), expected)


def test_what_is_seen_first_is_not_the_object_that_the_body_still_holds():
    for annotation in (None, list[int], dict[str, list[int]]):
        value: Any = {"a": [1]} if annotation != list[int] else [1]
        _, seen = PayloadType.of(annotation).record(value)
        assert seen == value
        assert seen is not value


def test_an_input_is_validated_and_converted_in_the_caller():
    assert PayloadType.of(Receipt).validate({"payment_id": "p", "approved": True}) == Receipt(
        payment_id="p", approved=True
    )
    assert PayloadType.of(Aliased).validate({"userName": "u"}).user_name == "u"
    assert same(PayloadType.of(int).validate("7"), 7)
    with pytest.raises(pydantic.ValidationError):
        PayloadType.of(Receipt).validate({"payment_id": "p"})
    with pytest.raises(pydantic.ValidationError):
        PayloadType.of(type(None)).validate(7)
    with pytest.raises(pydantic.ValidationError):
        PayloadType.of(bytearray).validate("x")


@pytest.mark.parametrize("nothing", [None, Any, object, Never])
def test_without_an_annotation_the_codec_speaks_alone(nothing):
    payload = PayloadType.of(nothing)
    anything = object()
    assert payload.validate(anything) is anything
    assert payload.annotation is None
    assert payload.encode({"a": 1}) == codec.encode({"a": 1})


def test_a_type_is_prepared_once_for_an_annotation():
    assert PayloadType.of(Order) is PayloadType.of(Order)
    assert PayloadType.of(list[Order]) is PayloadType.of(list[Order])
    assert PayloadType.of(type(None)) is not PayloadType.of(None)
    unhashable = Annotated[int, Field(json_schema_extra={"a": 1}), []]
    assert PayloadType.of(unhashable).decode(codec.encode(3)) == 3


class Unknown:
    pass


@pytest.mark.parametrize("annotation", [Unknown, list[Unknown], "Unresolved", 7, list["Nowhere"]], ids=range(5))  # type: ignore[name-defined] # noqa: F821
def test_an_annotation_that_nothing_could_restore_is_refused_by_itself(annotation):
    with pytest.raises(CannotRecord, match="pydantic model, a dataclass or built-in types"):
        PayloadType.of(annotation)


def test_a_record_that_no_longer_fits_is_refused_with_the_place():
    data = PayloadType.of(Receipt).encode(Receipt(payment_id="p", approved=True))
    assert PayloadType.of(dict[str, Any]).decode(data) == {"payment_id": "p", "approved": True}
    with pytest.raises(CannotDecode, match=r"is not a Computed: .*side"):
        PayloadType.of(Computed).decode(data)


def test_a_record_of_an_older_model_takes_the_defaults_of_the_newer():
    data = PayloadType.of(Receipt).encode(Receipt(payment_id="p", approved=True))
    assert PayloadType.of(PaidReceipt).decode(data) == PaidReceipt(payment_id="p", approved=True, paid_at=0)


def test_validators_that_break_are_told_as_such():
    class Breaking(BaseModel):
        n: int

        @pydantic.field_validator("n")
        @classmethod
        def check(cls, n: int) -> int:
            raise KeyError(n)

    with pytest.raises(CannotDecode, match=r"is not a .*Breaking"):
        PayloadType.of(Breaking).decode(codec.encode({"n": 1}))
    with pytest.raises(CannotRecord, match="would not come back"):
        PayloadType.of(Breaking).encode(Breaking.model_construct(n=1))


def test_values_that_contain_themselves_are_refused():
    class Node(BaseModel):
        after: Node | None = None

    node = Node()
    node.after = node
    with pytest.raises(CannotRecord, match=r"[Cc]ircular"):
        PayloadType.of(Node).encode(node)


def test_a_payload_over_its_limit_is_refused_with_what_to_do():
    check_size(b"x" * 10, 10, "the result of step 'a'")
    with pytest.raises(PayloadTooLarge, match=r"the result of step 'a' has 1,001 bytes.*1,000.*pass a reference"):
        check_size(b"x" * 1_001, 1_000, "the result of step 'a'")
