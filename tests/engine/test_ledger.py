"""The record as it grows: numbers without a gap, commits of bounded size, one at a time."""

from __future__ import annotations

from redisflow.contract import Mark
from redisflow.engine.commands import GO_ON, Commit, Finish
from redisflow.engine.ledger import BYTES_PER_COMMIT, RECORDS_PER_COMMIT, Ledger
from redisflow.engine.outputs import OUTPUTS_PER_COMMIT
from redisflow.records import Call, StepSucceeded, TimerFired

END = Finish("succeeded", b"")


def fired(number: int) -> TimerFired:
    return TimerFired(Call(f"sleep {number}", number, -1), 1_000)


def test_records_are_numbered_on_from_what_is_stored():
    ledger = Ledger(Mark(7, 100), 0)
    assert [ledger.append(fired(number)) for number in range(3)] == [7, 8, 9]
    commit = ledger.commit(END)
    assert commit.then is END
    assert commit.extension.before == Mark(7, 100)
    assert commit.extension.after == Mark(10, 100 + sum(map(len, commit.extension.records)))


def test_what_comes_while_a_commit_is_on_its_way_is_in_the_next():
    ledger = Ledger(Mark(0, 0), 0)
    ledger.append(fired(0))
    assert ledger.sent is None
    first = ledger.commit(GO_ON)
    assert ledger.sent == first.extension.after
    assert not ledger.has_new
    ledger.append(fired(1))
    ledger.acknowledge()
    assert ledger.acknowledged == first.extension.after
    assert ledger.commit(END).extension.before == first.extension.after


def test_the_end_travels_with_the_last_of_many_records():
    ledger = Ledger(Mark(0, 0), 0)
    for number in range(RECORDS_PER_COMMIT + 1):
        ledger.append(fired(number))
    assert ledger.commit(END).then is GO_ON
    ledger.acknowledge()
    last = ledger.commit(END)
    assert last.then is END
    assert len(last.extension.records) == 1


def test_large_records_leave_a_few_at_a_time():
    ledger = Ledger(Mark(0, 0), 0)
    for number in range(3):
        ledger.append(StepSucceeded(Call("one", number, -1), 1, 0, 0, b"x" * (BYTES_PER_COMMIT // 2 + 1)))
    assert len(ledger.commit(END).extension.records) == 2


def test_what_is_withdrawn_has_never_been():
    ledger = Ledger(Mark(3, 50), 0)
    ledger.append(fired(0))
    ledger.withdraw()
    assert not ledger.has_new
    assert ledger.append(fired(1)) == 3


def say(ledger: Ledger, *words: str) -> None:
    for word in words:
        ledger.outputs.move_to(ledger.count - 1, [])
        ledger.outputs.emit(word, b"", ledger.count)


def said(commit: Commit) -> list[str]:
    saying = commit.extension.saying
    return [] if saying is None else [kind for kind, _ in saying.events]


def test_what_is_said_leaves_no_sooner_than_the_records_before_it():
    ledger = Ledger(Mark(0, 0), 0)
    for number in range(RECORDS_PER_COMMIT + 1):
        ledger.append(fired(number))
    say(ledger, "late")
    first = ledger.commit(END)
    assert (len(first.extension.records), said(first), first.then) == (RECORDS_PER_COMMIT, [], GO_ON)
    ledger.acknowledge()
    second = ledger.commit(END)
    assert (len(second.extension.records), said(second), second.then) == (1, ["late"], END)


def test_what_is_said_leaves_no_later_than_the_records_after_it():
    ledger = Ledger(Mark(0, 0), 0)
    ledger.append(fired(0))
    words = [str(number) for number in range(OUTPUTS_PER_COMMIT + 1)]
    say(ledger, *words)
    ledger.append(fired(1))
    say(ledger, "last")
    first = ledger.commit(END)
    assert (len(first.extension.records), said(first), first.then) == (1, words[:-1], GO_ON)
    assert first.extension.saying is not None
    assert first.extension.saying.up_to == (0, OUTPUTS_PER_COMMIT)
    ledger.acknowledge()
    second = ledger.commit(END)
    assert (len(second.extension.records), said(second), second.then) == (1, [words[-1], "last"], END)
