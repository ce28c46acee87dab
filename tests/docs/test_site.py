"""The site: every page has one place in its navigation, every public name one in the API, and links are looked at."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import redisflow
import redisflow.contrib.django
import redisflow.dashboard
import redisflow.telemetry
import redisflow.testing
from docsite.links import broken_links
from docsite.llms import pages_of, write_index
from docsite.programs import publish_programs

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PROJECT = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
NAMED = [
    name
    for page in sorted((DOCS / "api").glob("*.md"))
    for name in re.findall(r"^::: ([\w.]+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
]
MODULES = [redisflow, redisflow.testing, redisflow.telemetry, redisflow.dashboard, redisflow.contrib.django]
# What a public object has as an attribute, and nobody makes: `flow.schedules`.
REACHED = {"redisflow.client.schedules.Schedules"}


def test_every_page_has_one_place_in_the_navigation():
    pages = [str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")]
    placed = list(pages_of(PROJECT["nav"]))
    assert sorted(placed) == sorted(page for page in pages if not re.match(r"decisions/\d", page))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_public_name_stands_in_one_page_of_the_api(module):
    names = [name for name in NAMED if name.rpartition(".")[0] == module.__name__]
    assert sorted(names) == sorted(f"{module.__name__}.{name}" for name in module.__all__)


def test_the_api_has_no_other_names():
    modules = {module.__name__ for module in MODULES}
    assert {name for name in NAMED if name.rpartition(".")[0] not in modules} == REACHED


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Two pages that link to each other, to a picture, and to a program beside the pages."""
    (tmp_path / "signals").mkdir()
    (tmp_path / "run.svg").write_text("<svg/>")
    (tmp_path / "index.html").write_text('<h1 id="top"><a href="signals/#send">x</a><img src="run.svg">')
    (tmp_path / "signals" / "index.html").write_text(
        '<h2 id="send"><a href="../#top">up</a> <a href="https://example.com/none">out</a>'
        '<a href="../../examples/order.py">program</a>'
    )
    return tmp_path


def test_links_of_a_sound_site_lead_to_pages_pictures_and_programs(site: Path):
    assert [target for _, target in broken_links(site)] == ["../../examples/order.py"]
    # A page is read once in a process; what is made anew here is another site.
    publish_programs(ROOT / "examples", site)
    assert 'href="../examples/order.py"' in (site / "signals" / "index.html").read_text()
    assert (site / "examples" / "order.py").read_text() == (ROOT / "examples" / "order.py").read_text()


@pytest.mark.parametrize("target", ["gone/", "#gone", "../#gone", "gone.svg", "/etc/hostname"])
def test_a_link_that_leads_nowhere_is_found(site: Path, target: str):
    (site / "events").mkdir()
    (site / "events" / "index.html").write_text(f'<a href="{target}">x</a><a href="../">y</a>')
    assert ("events/index.html", target) in list(broken_links(site))


def test_the_index_for_programs_has_each_page_with_what_it_answers_and_its_markdown(tmp_path: Path):
    write_index(PROJECT, DOCS, tmp_path)
    index = (tmp_path / "llms.txt").read_text()
    targets = re.findall(r"^- \[.+?\]\(([^)]+)\): .{10,}$", index, re.MULTILINE)
    assert len(targets) == len(list(pages_of(PROJECT["nav"])))
    written = [target for target in targets if not target.endswith(".html")]
    assert all((tmp_path / target).read_text() == (DOCS / target).read_text() for target in written)
    assert "(signals.md): data from outside, for one run or for all that wait for it" in index
    assert "(api/flow/index.html): What you hold: the workflows of one namespace" in index
