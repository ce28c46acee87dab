"""`redisflow audit`: is everything that is stored as it must be."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from redisflow import documents
from redisflow.cli.exits import EXIT_FAILED
from redisflow.cli.given import PLAIN, Given

if TYPE_CHECKING:
    from redisflow.structure import AuditReport


async def audit(
    *,
    repair: Annotated[bool, Parameter(negative=(), help="rebuild what can be derived from runs")] = False,
    given: Given = PLAIN,
) -> int:
    """Look at every key of the namespace; exit code 1 where something is not as it must be."""
    is_watched = sys.stderr.isatty()

    def tell(report: AuditReport) -> None:
        if is_watched:
            sys.stderr.write(f"\r{report.keys:,} keys, {report.runs:,} runs")

    async with given.flow() as flow:
        report = await flow.audit(repair=repair, progress=tell)
    if is_watched:
        sys.stderr.write("\r\033[K")
    given.out.one(documents.of_audit(report), lambda: str(report))
    return 0 if report.is_clean else EXIT_FAILED
