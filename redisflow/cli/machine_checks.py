"""This machine and this folder: Python, extras, settings, the app."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import redisflow
from redisflow.backend.connect import mask_url, read_url
from redisflow.checks.finding import Finding
from redisflow.cli.discovery import guess_target
from redisflow.cli.given import contradictions
from redisflow.cli.settings import DEV
from redisflow.errors import RedisflowError

if TYPE_CHECKING:
    from redisflow.cli.settings import Setting
    from redisflow.flow import RedisFlow

OPTIONAL: Mapping[str, str] = {"hiredis": "redisflow", "uvloop": "redisflow[fast]"}
"""What makes workers faster, and what brings it."""


def check_machine() -> Iterator[Finding]:
    """What is installed."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    yield Finding("this machine", "python", "ok", f"{python}, redisflow {redisflow.__version__}")
    for name, extra in OPTIONAL.items():
        try:
            yield Finding("this machine", name, "ok", version(name))
        except PackageNotFoundError:
            says = f"not installed, workers do without it (pip install '{extra}')"
            yield Finding("this machine", name, "ok", says)


def check_settings(settings: Mapping[str, Setting]) -> Iterator[Finding]:
    """Each, and where it was said. Passwords are not shown."""
    for name, setting in settings.items():
        try:
            value = read_url(setting.value).masked if name == "url" and setting.value else setting.value
        except RedisflowError as error:
            yield Finding("settings", name, "fail", str(error), f"correct it in {setting.source}")
        else:
            yield Finding("settings", name, "ok", f"{value or 'none'} ({setting.source})")


def check_app(settings: Mapping[str, Setting]) -> tuple[Finding, RedisFlow | None]:
    """Whether it can be imported; and its flow."""
    setting = settings["app"]
    target = setting.value or guess_target(Path.cwd())
    if target is None:
        says = "none is named: inputs are not checked where they are started from here, encrypted payloads not read"
        return Finding("app", "import", "ok", says), None
    from redisflow.cli.target import load_app  # noqa: PLC0415  # only where there is one: it imports all that authors use

    try:
        name, flow = load_app(target)
    except Exception as error:  # noqa: BLE001  # code of users
        why = f"{target} cannot be imported: {type(error).__name__}: {error}"
        fix = f"see the whole traceback: {Path(sys.executable).name} -c 'import {target.partition(':')[0]}'"
        return Finding("app", "import", "fail", why, fix), None
    workflows = ", ".join(flow.served().workflows) or "no workflow"
    return Finding("app", "import", "ok", f"{name} ({workflows})"), flow


def check_place(flow: RedisFlow, settings: Mapping[str, Setting]) -> Iterator[Finding]:
    """Whether settings and app mean the same place."""
    differ = set(contradictions(settings, flow))
    for name, own in (("url", flow.location.url), ("namespace", flow.namespace)):
        said = settings[name]
        shown = mask_url(own) if name == "url" else own
        if name in differ:
            says = f"{said.source} says another {name} than the app has, which is {shown}"
            yield Finding("app", name, "warn", says, "leave one of them out")
        elif said.source in ("default", DEV) and said.value != own:
            yield Finding("app", name, "ok", f"{shown} (its own)")
