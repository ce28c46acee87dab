"""`make cluster`: every suite on a real cluster of three primaries and three replicas, and the load through faults.

It ends within 40 minutes on two cores: a stage for which no time is left is ended, and counts as a failure. At the end
it prints what ran, what happened to the clusters, and what was left out.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

WITHIN_S = 40 * 60.0
ROOT = Path(__file__).parents[2]
# What is measured in one process for each core does not stand in the other's way.
SIDE_BY_SIDE = ("-n", "2", "--dist", "loadfile")
ALONE = ("-p", "no:xdist")


@dataclass
class Stage:
    """One run of pytest."""

    name: str
    paths: tuple[str, ...]
    options: tuple[str, ...] = ALONE
    environment: dict[str, str] = field(default_factory=dict[str, str])
    outcomes: Counter[str] = field(default_factory=Counter)
    skipped: list[str] = field(default_factory=list)
    code: int = -1
    took_s: float = 0.0

    def run(self, report: Path, until_s: float) -> None:
        """Run it, and print what it prints."""
        environment = {
            **os.environ,
            "REDISFLOW_TEST_SERVERS": "cluster",
            "REDISFLOW_CLUSTER_REPORT": str(report),
            **self.environment,
        }
        command = [sys.executable, "-m", "pytest", "-q", "-rs", *self.options, *self.paths]
        print(f"\n== {self.name}: {' '.join(command[2:])}", flush=True)
        began_s = time.monotonic()
        # A session of its own: what is ended at the limit is this stage, with whatever it has started.
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            try:
                output, _ = process.communicate(timeout=max(1.0, until_s - began_s))
                self.code = process.returncode
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGINT)
                output, _ = process.communicate()
                output += "\n(ended: no time was left)"
        self.took_s = time.monotonic() - began_s
        lines = output.strip().splitlines()
        print("\n".join(lines if self.code else lines[-1:]), flush=True)
        for count, what in re.findall(r"(\d+) (passed|failed|errors?|skipped|deselected)", lines[-1] if lines else ""):
            self.outcomes[what] += int(count)
        self.skipped = [line.removeprefix("SKIPPED ") for line in lines if line.startswith("SKIPPED")]


def stages() -> list[Stage]:
    """In the order in which they say most soonest."""
    whole = ("tests/cluster",)
    on_redis = {"REDISFLOW_TEST_CLUSTER": "redis", "REDISFLOW_CLUSTER_RUNS": "1000"}
    return [
        Stage("faults and load, Valkey", whole, environment={"REDISFLOW_CLUSTER_RUNS": "3000"}),
        Stage("faults and load, Redis", whole, environment=on_redis),
        Stage("stories, 16 partitions", ("tests/stories",), (*SIDE_BY_SIDE, "-k", "cluster")),
        Stage("security", ("tests/security",), (*SIDE_BY_SIDE, "-k", "cluster")),
        Stage("conformance, Valkey", ("tests/conformance",), SIDE_BY_SIDE),
        Stage("conformance, Redis", ("tests/conformance",), SIDE_BY_SIDE, {"REDISFLOW_TEST_CLUSTER": "redis"}),
        Stage("scripts on nodes of a cluster, Valkey and Redis", ("tests/lua",)),
        Stage("crash points and traps", ("tests/crash",), SIDE_BY_SIDE),
    ]


def main() -> int:
    """0 where all went well."""
    began_s = time.monotonic()
    # A shell lets what it starts in the background ignore Ctrl-C, and so would the tests that are about it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ran = stages()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        for stage in ran:
            stage.run(report, began_s + WITHIN_S)
        happened = report.read_text().splitlines() if report.exists() else []
    totals = Counter[str]()
    for line in happened:
        totals.update({what: int(count) for count, what in re.findall(r"(\d+) ([a-z ]+?)(?=[,;(])", line)})
    print("\n== make cluster")
    for stage in ran:
        outcomes = ", ".join(f"{count} {what}" for what, count in stage.outcomes.items()) or "nothing"
        print(f"{'ok' if stage.code == 0 else 'FAILED':8}{stage.name}: {outcomes} in {stage.took_s:.0f} s")
    for line in happened:
        print(f"load    {line}")
    shown = ("runs", "steps", "failovers", "kills", "freezes", "migrations", "lost starts", "runs set back")
    print("totals  " + ", ".join(f"{totals[what.strip()]} {what}" for what in shown))
    left_out = sorted({line for stage in ran for line in stage.skipped})
    for line in left_out:
        print(f"left out: {line}")
    print("left out: tests that need no server or one of their own (engine, values, backend, docs, ...): `make test`")
    print(f"{time.monotonic() - began_s:.0f} s in all")
    return 0 if all(stage.code == 0 for stage in ran) else 1


if __name__ == "__main__":
    sys.exit(main())
