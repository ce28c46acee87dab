"""`requirements.lock`: what tests and checks install, file by file."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
ENTRIES = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text(encoding="utf-8").strip())


def locked() -> dict[str, str]:
    """Versions by name: those for this Python and this system."""
    found: dict[str, str] = {}
    for entry in ENTRIES:
        requirement = Requirement(entry.partition(" \\")[0])
        if requirement.marker is None or requirement.marker.evaluate():
            [version] = requirement.specifier
            found[canonicalize_name(requirement.name)] = version.version
    return found


def wanted() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    lines = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    for extra, of_extra in project["project"]["optional-dependencies"].items():
        if extra not in {"fastapi", "django"}:  # of their users; tests name them in their own group
            lines += of_extra
    lines += [line for group in groups.values() for line in group if isinstance(line, str)]
    return [one for one in map(Requirement, lines) if one.marker is None or one.marker.evaluate()]


def test_it_has_all_that_the_project_asks_for_in_versions_that_it_allows():
    versions = locked()
    wrong = [
        f"{requirement}: {versions.get(canonicalize_name(requirement.name))}"
        for requirement in wanted()
        if not requirement.specifier.contains(versions.get(canonicalize_name(requirement.name), "0"), prereleases=True)
    ]
    assert not wrong, "make lock"


def test_each_file_is_known_by_its_hash_and_none_by_an_address():
    for entry in ENTRIES:
        assert re.match(r"[a-z0-9.-]+==[^ ]+", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), entry
        assert "://" not in entry, entry
