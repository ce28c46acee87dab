"""The catalogue of mutants is up to date, and the checkers find some of it: `make mutants` shows them all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.mutants.__main__ import show
from tests.mutants.catalog import MUTANTS
from tests.mutants.checkers import PROGRAMS, SIMULATION, Checker
from tests.mutants.mutant import ROOT, Mutant

BY_NAME = {mutant.name: mutant for mutant in MUTANTS}


def test_each_is_one_change_of_the_project_as_it_is(tmp_path: Path) -> None:
    assert len(MUTANTS) >= 40
    assert len(BY_NAME) == len(MUTANTS)
    for mutant in MUTANTS:
        for edit in mutant.edits:
            path = tmp_path / edit.file
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / edit.file, path)
        mutant.apply(tmp_path)
        for edit in mutant.edits:
            assert (tmp_path / edit.file).read_text() != (ROOT / edit.file).read_text(), mutant.name


def test_a_change_that_does_not_fit_any_more_is_told(tmp_path: Path) -> None:
    (tmp_path / "lua").mkdir()
    (tmp_path / "lua" / "commit_run.lua").write_text("return {}")
    with pytest.raises(ValueError, match=r"lua/commit_run\.lua has .* 0 times"):
        BY_NAME["a commit does not look at the deadline"].apply(tmp_path)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "checker"),
    [("an idempotency key is not kept", SIMULATION), ("results are delivered in another order on replay", PROGRAMS)],
)
def test_the_checkers_find_a_mutant(name: str, checker: Checker) -> None:
    shown = show(BY_NAME[name], [checker])
    assert shown.is_as_it_should_be, shown


@pytest.mark.timeout(300)
def test_the_checkers_find_nothing_where_there_is_nothing() -> None:
    assert show(Mutant("untouched", "-", ()), [PROGRAMS]).found_by == ""
