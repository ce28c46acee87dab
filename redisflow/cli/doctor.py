"""`redisflow doctor`: what is not as it should be, from this machine to the last run, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter
from rich.text import Text

from redisflow.backend.location import Location
from redisflow.checks.finding import Finding, Status
from redisflow.checks.namespace import check_namespace
from redisflow.checks.servers import PINGS, check_pings, check_servers
from redisflow.cli.exits import EXIT_FAILED, EXIT_UNREACHABLE, EXIT_WARNINGS
from redisflow.cli.given import CALL_TIMEOUT_S, PLAIN, Given, with_own_place
from redisflow.cli.machine_checks import check_app, check_machine, check_place, check_settings
from redisflow.cli.output import is_terminal, printable
from redisflow.cli.phrases import translated
from redisflow.cli.settings import DEV, follow_dev
from redisflow.durability import AS_CONFIGURED
from redisflow.errors import BackendError, BackendUnavailable
from redisflow.words import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redisflow.backend.redis_backend import RedisBackend
    from redisflow.durability import Durability
    from redisflow.flow import RedisFlow

_Line: TypeAlias = tuple[str, Status | None]

SYMBOLS: Mapping[Status, tuple[str, str]] = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "red")}


async def doctor(
    *,
    strict: Annotated[bool, Parameter(negative=(), help="end with 7 where there are warnings")] = False,
    given: Given = PLAIN,
) -> int:
    """Look at everything that redisflow needs here, and say what to do where it is not as it should be."""
    findings, is_reachable = await examine(given)
    counts: dict[Status, int] = {status: sum(each.status == status for each in findings) for status in SYMBOLS}
    document = {"id": "doctor", "checks": [each.document() for each in findings], "counts": counts}
    given.out.one(document, lambda: _report(findings, counts))
    if not is_reachable:
        return EXIT_UNREACHABLE
    if counts["fail"]:
        return EXIT_FAILED
    return EXIT_WARNINGS if strict and counts["warn"] else 0


async def examine(given: Given) -> tuple[list[Finding], bool]:
    """All findings, in order, and whether the server could be asked."""
    settings = given.settings()
    said = list(check_settings(settings))
    if any(each.status == "fail" for each in said):
        return [*check_machine(), *said], True
    follow_dev(settings)
    finding, flow = check_app(settings)
    if flow is not None and given.asks_the_app(settings):
        settings = with_own_place(settings, flow)
        said = list(check_settings(settings))
    findings = [*check_machine(), *said, finding]
    if flow is not None:
        findings += check_place(flow, settings)
    # A place of its own: the app's would make the namespace where it is not there.
    location = Location(
        url=_chosen(settings["url"].value, settings["url"].source, None if flow is None else flow.location.url),
        namespace=_chosen(
            settings["namespace"].value, settings["namespace"].source, None if flow is None else flow.namespace
        ),
        partitions=None,
        call_timeout_s=CALL_TIMEOUT_S,
    )
    backend = location.make_backend()
    try:
        return findings, await _ask_servers(backend, _durability_of(flow), findings)
    finally:
        await backend.close()


def _chosen(said: str | None, source: str, own: str | None) -> str:
    """What was said, unless by nobody."""
    return (own if source in ("default", DEV) and own is not None else said) or ""


def _durability_of(flow: RedisFlow | None) -> Durability:
    return AS_CONFIGURED if flow is None else flow.location.durability


async def _ask_servers(backend: RedisBackend, durability: Durability, findings: list[Finding]) -> bool:
    try:
        info = await backend.server.describe()
        findings += check_servers(info, durability)
        findings += check_pings(info, await backend.server.ping(PINGS))
        async for finding in check_namespace(backend):
            findings.append(finding)
    except BackendUnavailable as error:
        fix = "start it, or correct the URL; `redisflow dev` brings one of its own"
        findings.append(Finding("server", "reachable", "fail", translated(str(error)), fix))
        return False
    except BackendError as error:
        findings.append(Finding("server", "reachable", "fail", str(error), "see what the server says"))
        return True
    return True


def _report(findings: Sequence[Finding], counts: Mapping[Status, int]) -> str | Text:
    """Aligned lines by group, what to do below each that is not ok, and a last one that sums up."""
    width = max(len(each.name) for each in findings)
    lines: list[_Line] = []
    group = ""
    for each in findings:
        if each.group != group:
            group = each.group
            lines.append(("", None))
            lines.append((group, None))
        sign = SYMBOLS[each.status][0] if is_terminal() else f"{each.status:<4}"
        lines.append((f"  {sign} {each.name:<{width}}  {each.says}", each.status))
        if each.fix is not None and each.status != "ok":
            lines.append((f"  {' ' * len(sign)} {'':<{width}}  -> {each.fix}", None))
    summary = f"{counts['ok']} ok, {counted(counts['warn'], 'warning')}, {counts['fail']} failed"
    lines.append(("", None))
    lines.append((summary, _worst(counts)))
    if not is_terminal():
        return "\n".join(text for text, _ in lines[1:])
    return Text("\n").join(_styled(text, status) for text, status in lines[1:])


def _styled(text: str, status: Status | None) -> Text:
    shown = Text(printable(text))
    if status is not None:
        sign, colour = SYMBOLS[status]
        at = text.find(sign)
        shown.stylize(colour, max(at, 0), len(sign) + at if at >= 0 else None)
    elif text.startswith("  "):
        shown.stylize("dim")
    else:
        shown.stylize("bold")
    return shown


def _worst(counts: Mapping[Status, int]) -> Status:
    return "fail" if counts["fail"] else "warn" if counts["warn"] else "ok"
