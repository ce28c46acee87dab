"""Whoever can write to the server cannot do more to those who read than to give them wrong values.

Bytes are a value or are refused: in bounded time, in bounded memory, without any name in them being imported.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import math
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import redisflow
from redisflow import codec, records
from redisflow.backend.wire import Refusal
from redisflow.errors import CannotDecode
from redisflow.failure import Failure
from redisflow.mail import decode_mail
from redisflow.run_views import view_run

PACKAGE = Path(redisflow.__file__).parent
MIB = 1 << 20


def nested(code: int) -> bytes:
    """As many extensions inside each other as 1 MiB holds, each a list of one."""
    parts, size = [b"\x90"], 1
    while size < MIB - 8:
        parts.append(b"\x91\xc9" + struct.pack(">Ib", size, code))
        size += 7
    return b"".join(reversed(parts))[1:]


def many(opening: bytes, item: bytes, count: int) -> bytes:
    return opening + struct.pack(">I", count) + item * count


# Each of them is as large as a payload may be, or claims to be larger.
BOMBS = {
    "a list of four thousand million": many(b"\xdd", b"", 0)[:1] + b"\xff\xff\xff\xff",
    "a dict of four thousand million": b"\xdf\xff\xff\xff\xff",
    "four gigabytes of text": b"\xdb\xff\xff\xff\xff",
    "an extension of four gigabytes": b"\xc9\xff\xff\xff\xff\x01",
    "a million empty lists": many(b"\xdd", b"\x90", 1_000_000),
    "a million empty dicts": many(b"\xdd", b"\x80", 1_000_000),
    "more items than any collection has": many(b"\xdd", b"\xc0", MIB - 5),
    "lists in lists": b"\x91" * MIB,
    "pairs in pairs": b"\x92\xc0" * (MIB // 2),
    "headers alone": (b"\xdd" + struct.pack(">I", 900_000)) * (MIB // 5),
    "tuples in tuples": nested(1),
    "frozensets in frozensets": nested(3),
    "a quarter of a million tuples": many(b"\xdd", b"\xd4\x01\x90", MIB // 4),
    "an integer of eight million bits": b"\xc9" + struct.pack(">Ib", MIB - 6, 4) + b"\x7f" * (MIB - 6),
    "a decimal of a million digits": b"\xc9" + struct.pack(">Ib", MIB - 6, 7) + b"9" * (MIB - 6),
    "a decimal with an endless exponent": b"\xc7\x0c\x07" + b"1E9999999999"[:12],
    "a zone that is a device": b"\xc7\x1b\x09" + struct.pack(">HBBBBBI", 2020, 1, 1, 1, 1, 1, 1) + b"z../../dev/zero",
}
_DECODE = """
import pathlib, resource, sys, time
from redisflow import codec
from redisflow.errors import CannotDecode
from tests.memory import peak_bytes
before = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    print(path.name, flush=True)
    data, began = path.read_bytes(), time.process_time()
    try:
        codec.decode(data)
    except CannotDecode as error:
        assert len(str(error)) < 500
    # Some 0.3 s on one core. Not a measure of speed: what is quadratic takes minutes.
    assert time.process_time() - began < 20, "it takes too long"
print(peak_bytes() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_bytes_end_the_process_or_take_its_memory(tmp_path: Path):
    """In a process of its own: the stack of C ends without an exception."""
    for name, data in BOMBS.items():
        assert len(data) <= MIB
        (tmp_path / name).write_bytes(data)
    command = [sys.executable, "-c", _DECODE, str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, timeout=300, text=True)
    *names, grown = done.stdout.splitlines() or ["it did not begin"]
    assert done.returncode == 0, f"it ended ({done.returncode}) at: {grown} {done.stderr}"
    assert len(names) == len(BOMBS)
    # At most 170 bytes for each that is stored (an empty dict, and the lists that look at it), or 64 copies of it.
    assert int(grown) < 200 * MIB


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4) | st.tuples(inner, inner)
    ),
    max_leaves=20,
)
anything = st.binary(max_size=400) | st.builds(
    lambda value, at, byte: (
        (data := codec.encode(value))[: at % len(data)] + bytes([byte]) + data[at % len(data) + 1 :]
    ),
    values,
    st.integers(0, 1000),
    st.integers(0, 255),
)


@given(anything)
def test_bytes_of_any_kind_are_a_value_or_are_refused(data: bytes):
    try:
        value = codec.decode(data)
    except CannotDecode:
        return
    # What was read is one of the types that the codec knows, all the way down.
    _look_at(value)


@given(st.lists(anything, max_size=6))
def test_records_of_any_kind_are_read_or_refused(stored: list[bytes]):
    for data in stored:
        with contextlib.suppress(CannotDecode):
            records.decode_record(data, 0)


@given(anything)
def test_failures_of_any_kind_are_read_or_refused(data: bytes):
    try:
        failure = Failure.from_wire(codec.decode(data))
    except CannotDecode:
        return
    assert isinstance(failure.error_type, str)


@given(
    st.dictionaries(
        st.sampled_from(
            [b"s", b"w", b"v", b"q", b"c", b"a", b"t", b"h", b"o", b"er", b"ca", b"p", b"tg", b"0", b"1", b"dl"]
        ),
        anything | st.sampled_from([b"succeeded", b"failed", b"waiting:timer", b"1700000000000", b"1:10"]),
    )
)
def test_a_run_of_any_kind_is_shown_or_refused_with_a_reason(fields: dict[bytes, bytes]):
    with contextlib.suppress(CannotDecode):
        assert view_run("0" * 32, fields).id == "0" * 32


@given(anything)
def test_mail_of_any_kind_is_read_or_refused(data: bytes):
    with contextlib.suppress(CannotDecode):
        assert decode_mail(1, data).number == 1


@given(st.text(max_size=300))
def test_what_a_server_refuses_with_is_told_in_bounded_words_without_arguments(words: str):
    refusal = Refusal(f"ERR unknown command 'x', with args beginning with: '{words}'")
    assert refusal.words == "ERR unknown command 'x'"
    assert len(Refusal(words * 10).words) <= 300


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xa3\xed\xa0\x80", "codec can't decode"),  # a lone surrogate
        (b"\xa2\xc0\x80", "codec can't decode"),  # a NUL in two bytes
        (b"\xc1", "FormatError"),
        (b"\xc0\xc0", "extra data"),
        (b"\x81\x90\xc0", "unhashable"),
        (b"\xd4\x0d\x00", "extension 13 is unknown"),
        (b"\xd4\x7f\x00", "extension 127 is unknown"),
    ],
)
def test_what_no_value_is_stored_as_is_refused(data: bytes, words: str):
    with pytest.raises(CannotDecode, match=words):
        codec.decode(data)


def test_what_msgpack_leaves_open_is_decided():
    """Not a number is a float like any other; of a key that comes twice, which nothing here writes, the last counts."""
    assert math.isnan(codec.decode(codec.encode(float("nan"))))
    assert codec.decode(b"\x82\xa1a\x01\xa1a\x02") == {"a": 2}


def test_a_failure_is_data_whatever_type_it_names():
    """Celery's CVE-2021-23727: a stored name of a type that was looked up and called."""
    for name in ("os.system", "subprocess.Popen", "redisflow.testing.start_server"):
        failure = Failure.from_wire(codec.decode(codec.encode([name, "touch /tmp/never", "", 1])))
        assert failure.error_type == name
        assert type(failure) is Failure


IMPORTS = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle", "yaml", "joblib"}
CALLS = {"eval", "exec", "compile", "__import__"}
# By the words of whoever starts the process, or names that stand in the code; never by what is stored.
BY_NAME = {
    "cli/dashboard.py",
    "cli/target.py",
    "dashboard/__init__.py",
    "sealing/extras.py",
    "telemetry/__init__.py",
    "testing/plugin.py",
}
# It prints documents as YAML, with the dumper that knows plain data only, and reads none.
WRITES_YAML = "cli/output.py"


def test_nothing_that_reads_the_server_can_run_code_from_it():
    found: list[str] = []
    written = (PACKAGE / WRITES_YAML).read_text()
    assert [part.partition("(")[0] for part in written.split("yaml.")[1:] if not part.startswith("SafeDumper")] == [
        "dump"
    ]
    for path in sorted(PACKAGE.rglob("*.py")):
        where = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name.partition(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [(node.module or "").partition(".")[0]]
                if node.module == "importlib" and any(alias.name == "import_module" for alias in node.names):
                    names.append("import_module")
            elif isinstance(node, ast.Call):
                called = node.func.id if isinstance(node.func, ast.Name) else ""
                names = [called] if called in CALLS else []
                if isinstance(node.func, ast.Attribute) and node.func.attr in {
                    "import_module",
                    "spec_from_file_location",
                }:
                    names.append("import_module")
            bad = IMPORTS | CALLS | (set() if where in BY_NAME else {"import_module"})
            bad -= {"yaml"} if where == WRITES_YAML else set()
            found += [f"{where} {name}" for name in names if name in bad]
    assert found == []


def test_the_examples_of_bytes_from_elsewhere_are_no_values():
    """Pickles, YAML and archives of other systems: they are refused, or are the text or number that they begin with."""
    pickle = base64.b64decode("gASVHwAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjARsc2VjlIWUUpQu")
    for data in (pickle, b"!!python/object/apply:os.system ['id']", zlib.compress(b"x" * MIB)):
        with pytest.raises(CannotDecode):
            codec.decode(data)


def _look_at(value: object) -> None:
    assert type(value).__module__ in {"builtins", "datetime", "decimal", "uuid"}, type(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            _look_at(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            _look_at(key)
            _look_at(item)
