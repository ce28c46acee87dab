"""Known flaws of servers that matter to whoever lets others send scripts to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redisflow.backend.servers import ServerReport

_Version = tuple[int, int, int]

# The first release of each line with the fixes of October 2025: CVE-2025-49844 (who may send scripts can take over the
# server's process), and with it CVE-2025-46817, -46818 and -46819. Lines that are not named here were not fixed by
# their makers (Redis 7.0), or are newer than all of them.
_FIXED: dict[str, tuple[_Version, ...]] = {
    "redis": ((7, 2, 11), (7, 4, 6), (8, 0, 4), (8, 2, 2)),
    "valkey": ((7, 2, 11), (8, 0, 6), (8, 1, 4)),
}


def known_flaws(report: ServerReport) -> list[str]:
    """What to say of this server's version; nothing where it has the fixes.

    Distributions bring fixes into old versions without changing their number: that cannot be seen from here.
    """
    fixed = _FIXED.get(report.product, ())
    if not fixed or _has_fixes(report.version, fixed):
        return []
    shown = ".".join(map(str, report.version))
    wanted = ", ".join(".".join(map(str, version)) for version in fixed)
    said = (
        f"{report.product} {shown} may have CVE-2025-49844: whoever may send it scripts can take over its process."
        f" Fixed in {wanted} and later lines. Distributions fix old versions without changing their number: if yours"
        " did, all is well"
    )
    return [said]


def _has_fixes(version: _Version, fixed: tuple[_Version, ...]) -> bool:
    line = next((first for first in fixed if first[:2] == version[:2]), fixed[-1])
    return version >= line
