"""Known flaws of servers that matter to whoever lets others send scripts to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redisflow.backend.servers import ServerReport

_Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class _Flaw:
    """Of those with whose help whoever may send scripts can take over the server's process: the ones fixed together."""

    names: tuple[str, ...]
    since: _Version
    fixed: dict[str, tuple[_Version, ...]]
    """By product, the first release of each line with the fix. Lines that are not named were not fixed by their makers
    (Redis 7.0 and 8.0), or are newer than all of them."""


# From the release notes of both projects.
_FLAWS = (
    _Flaw(
        # With it came fixes of CVE-2025-46817, -46818 and -46819. October 2025.
        ("CVE-2025-49844",),
        (0, 0, 0),
        {
            "redis": ((7, 2, 11), (7, 4, 6), (8, 0, 4), (8, 2, 2)),
            "valkey": ((7, 2, 11), (8, 0, 6), (8, 1, 4)),
        },
    ),
    _Flaw(
        # A script that a full synchronisation interrupts, and a blocked client that is evicted. May 2026.
        ("CVE-2026-23631", "CVE-2026-23479"),
        (7, 2, 0),
        {
            "redis": ((7, 2, 14), (7, 4, 9), (8, 2, 6), (8, 4, 3), (8, 6, 3)),
            "valkey": ((7, 2, 13), (8, 0, 8), (8, 1, 7), (9, 0, 4)),
        },
    ),
)


def known_flaws(report: ServerReport) -> list[str]:
    """What to say of this server's version: a line, or nothing where it has the fixes.

    Distributions bring fixes into old versions without changing their number: that cannot be seen from here.
    """
    missing = [flaw for flaw in _FLAWS if not _has_fix(report, flaw)]
    if not missing:
        return []
    shown = ".".join(map(str, report.version))
    names = " and ".join(name for flaw in missing for name in flaw.names)
    wanted = ", ".join(".".join(map(str, version)) for version in missing[-1].fixed[report.product])
    said = (
        f"{report.product} {shown} may have {names}: whoever may send it scripts can take over its process."
        f" Fixed in {wanted} and later lines. Distributions fix old versions without changing their number: if yours"
        " did, all is well"
    )
    return [said]


def _has_fix(report: ServerReport, flaw: _Flaw) -> bool:
    version, fixed = report.version, flaw.fixed.get(report.product, ())
    if not fixed or version < flaw.since:
        return True
    return version >= next((first for first in fixed if first[:2] == version[:2]), fixed[-1])
