"""What an audit saw and did, to be read by people and by programs."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from redisflow.structure.breach import EXPLANATIONS, Breach, Rule

SHOWN = 20
"""Breaches of a rule that are printed."""
WIDTH = 100
"""Of the lines that are wrapped; what is found stays on a line of its own, so that it can be searched."""
KEPT = 10_000
"""Breaches that a report holds, so that it is of bounded size; it counts the others."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A breach, and what became of it."""

    breach: Breach
    is_repaired: bool = False
    """It was put right, or was right when the repair looked again."""


@dataclass(slots=True, kw_only=True)
class AuditReport:
    """What was walked, and what was not as it must be. Counts go on behind the findings that are kept."""

    namespace: str
    partitions: int
    is_repair: bool
    keys: int = 0
    """Keys that were looked at."""
    runs: int = 0
    """Runs among them."""
    findings: list[Finding] = field(default_factory=list[Finding])
    """The first 10,000, in the order in which they were found."""
    counts: dict[Rule, int] = field(default_factory=dict[Rule, int])
    """Breaches by rule, all of them."""
    repaired: int = 0
    """Of all of them, those that were put right."""
    done: dict[str, int] = field(default_factory=dict[str, int])
    """What repairs did, in words, and how often."""

    @property
    def breaches(self) -> Sequence[Breach]:
        """Those that are kept, whatever became of them."""
        return [finding.breach for finding in self.findings]

    @property
    def total(self) -> int:
        """Breaches that were found."""
        return sum(self.counts.values())

    @property
    def left(self) -> int:
        """Breaches that are still there, as far as this audit knows."""
        return self.total - self.repaired

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left."""
        return self.left == 0

    def add(self, finding: Finding) -> None:
        """Count a finding, and keep it if there is room."""
        rule = finding.breach.rule
        self.counts[rule] = self.counts.get(rule, 0) + 1
        self.repaired += finding.is_repaired
        if len(self.findings) < KEPT:
            self.findings.append(finding)

    def __str__(self) -> str:
        """For people: what was walked, then each rule that was broken, where, and what a repair does about it."""
        where = f"{self.partitions} partition{'s' if self.partitions != 1 else ''}"
        lines = [f"audit of {self.namespace!r}: {_counted(self.keys, 'key')}, {_counted(self.runs, 'run')} in {where}"]
        if not self.total:
            return f"{lines[0]}: all is as it must be"
        breaches = "1 breach" if self.total == 1 else f"{self.total:,} breaches"
        lines.append(f"{breaches}, {self.repaired:,} repaired, {self.left:,} left")
        for rule in sorted(self.counts):
            heading = f"{rule.value}  {EXPLANATIONS[rule]}: {self.counts[rule]:,}"
            lines += ["", *textwrap.wrap(heading, WIDTH, subsequent_indent="    ")]
            # What becomes of them is said once for all of a kind: those that a person must look at come first.
            of_rule = [finding for finding in self.findings if finding.breach.rule is rule]
            of_rule.sort(key=lambda finding: (finding.is_repaired, finding.breach.remedy is not None))
            for told, alike in groupby(of_rule[:SHOWN], self._fate):
                lines.append(f"  {told}:")
                lines += [f"    {finding.breach.key}: {finding.breach.what}" for finding in alike]
            if self.counts[rule] > SHOWN:
                lines.append(f"    ... and {self.counts[rule] - SHOWN:,} more")
        if self.done:
            lines += ["", f"done: {', '.join(f'{word} {count:,}' for word, count in sorted(self.done.items()))}"]
        return "\n".join(lines)

    def _fate(self, finding: Finding) -> str:
        if finding.is_repaired:
            return "repaired"
        if finding.breach.remedy is None:
            return "for a person to look at: nothing says what was there"
        return f"{'not repaired' if self.is_repair else 'a repair would do this'}: {finding.breach.remedy}"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
