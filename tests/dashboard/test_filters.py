"""The filter bar's language says the same before and after it was written out."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redisflow.dashboard.filters import Query
from redisflow.run_id import new_run_id

NAMES = st.from_regex(r"[A-Za-z0-9._:-]{1,20}", fullmatch=True)
PRINTABLE = st.text(min_size=1, max_size=20).filter(str.isprintable)
INSTANTS = st.sampled_from(
    ["1h", "30m", "1h 30m", "3600", "2026-11-01", "2026-11-01T10:00:00+02:00", "2026-11-01 10:00"]
)
STATUSES = st.sampled_from(["pending", "running", "waiting", "waiting:signal", "waiting:timer", "succeeded", "failed"])
TAGS = st.dictionaries(PRINTABLE.filter(lambda name: "=" not in name), PRINTABLE, max_size=3)
QUERIES = st.one_of(
    st.builds(lambda partition: Query(id=new_run_id(partition)), st.integers(0, 15)),
    st.builds(
        Query,
        workflow=st.none() | NAMES,
        version=st.none() | NAMES,
        statuses=st.lists(STATUSES, unique=True, max_size=3).map(tuple),
        tags=TAGS.map(lambda tags: tuple(tags.items())),
        created_after=st.none() | INSTANTS,
        created_before=st.none() | INSTANTS,
        finished_after=st.none() | INSTANTS,
        finished_before=st.none() | INSTANTS,
        order=st.sampled_from(["newest", "oldest"]),
    ),
)


@given(QUERIES)
def test_what_is_written_out_is_read_as_what_it_was(query: Query):
    assert Query.parse(query.to_text()) == query


@given(QUERIES)
def test_each_chip_takes_its_own_part_away_and_no_other(query: Query):
    chips = query.chips()
    assert " ".join(label for label, _ in chips) == query.to_text()
    for label, without in chips:
        left = [other for other, _ in Query.parse(without).chips()]
        assert left == [other for other, _ in chips if other != label]


@given(st.text(max_size=60))
def test_any_text_is_a_query_or_a_value_error(text: str):
    is_read_or_refused(text)


def is_read_or_refused(text: str):
    try:
        query = Query.parse(text)
    except ValueError:
        return
    assert Query.parse(query.to_text()) == query


@given(st.text(alphabet='ab:=<>"\\ ', max_size=30))
def test_so_is_text_of_quotes_and_signs(text: str):
    is_read_or_refused(text)


def test_everything_that_may_be_said():
    query = Query.parse(
        'workflow:order  status:failed status:waiting:signal tag:customer=c1 tag:"name=Ann \\"A\\" \\\\"'
        " version:2 created>1h created<2026-11-01 finished<30m order:oldest"
    )
    assert query == Query(
        workflow="order",
        version="2",
        statuses=("failed", "waiting:signal"),
        tags=(("customer", "c1"), ("name", 'Ann "A" \\')),
        created_after="1h",
        created_before="2026-11-01",
        finished_before="30m",
        order="oldest",
    )
    options = query.find_options()
    assert options["workflow"] == "order"
    assert options["tags"] == {"customer": "c1", "name": 'Ann "A" \\'}
    assert options["created_before"] == datetime(2026, 11, 1, tzinfo=UTC)


def test_a_bare_id_is_that_run():
    run_id = new_run_id(0)
    assert Query.parse(run_id) == Query.parse(f"id:{run_id.upper()}") == Query(id=run_id)


RUN_ID = "01a21c58fbe27dbfa400bc417c340000"
"""Not a new one: each process that collects the tests has to call them by the same names."""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("workflow:order colour:red", "at character 16, 'colour:red': this is nothing that can be asked for"),
        ("status:done", "at character 1, 'status:done': 'done' is no status"),
        ('tag:"a=b', "at character 5: this quote is not closed"),
        ("tag:customer", "a tag is written tag:NAME=VALUE"),
        ("tag:a=1 tag:a=2", "tag 'a' cannot have two values"),
        ("workflow:a workflow:b", "at character 12, 'workflow:b': it is said twice"),
        ("workflow:", "a value is missing"),
        ("created>soon", "created_after: 'soon' is not a duration"),
        ("created:1h", "nothing that can be asked for"),
        ("order:sideways", "order is 'newest' or 'oldest'"),
        ("hello", "neither a run id nor"),
        (f"workflow:a id:{RUN_ID}", "it stands alone"),
        (f"id:{RUN_ID} workflow:a", "it stands alone"),
        ("workflow:a b", "at character 12, 'b'"),
        ("x" * 5000, "at most 4,000 characters"),
    ],
)
def test_what_cannot_be_meant_is_told_with_its_place(text: str, says: str):
    with pytest.raises(ValueError) as told:
        Query.parse(text)
    assert says in str(told.value)


def test_a_tab_of_another_status_keeps_all_else():
    query = Query.parse("workflow:order status:failed created>1h")
    assert query.with_status("running", "waiting").to_text() == (
        "workflow:order status:running status:waiting created>1h"
    )
    assert query.with_status().to_text() == "workflow:order created>1h"
    with pytest.raises(ValueError, match="no status"):
        query.with_status("done")
