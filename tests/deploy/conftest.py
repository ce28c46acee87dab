"""The files of `deploy/`, read as the programs would that use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="session")
def manifests() -> dict[tuple[str, str], dict[str, Any]]:
    """Of Kubernetes: by the file's name and the kind of object."""
    return {
        (path.stem, each["kind"]): each
        for path in (DEPLOY / "kubernetes").glob("*.yaml")
        for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    }
