"""`redisflow`: finds out which command is meant, and imports no more than that one needs.

`redisflow worker` needs no extra. All others need `redisflow[cli]`, and say so where it is not installed.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from importlib.util import find_spec

import redisflow
from redisflow.cli.exits import EXIT_USAGE
from redisflow.cli.problems import replace_closed_streams

NEEDED = ("cyclopts", "rich")
LONG = frozenset({"worker", "dashboard", "dev"})
"""Commands that go on for months: they look for garbage as any process does."""
STARTING = 50_000
"""New objects, before garbage is looked for."""
MISSING = """\
redisflow: this command needs an extra that is not installed: pip install 'redisflow[cli]'
`redisflow worker MODULE:NAME` works without it.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the process's exit code."""
    replace_closed_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words in (["--version"], ["-V"]):
        sys.stdout.write(f"redisflow {redisflow.__version__}\n")
        return 0
    if words[:1] == ["worker"]:
        from redisflow.cli import worker  # noqa: PLC0415  # each command imports its own

        return worker.run(words[1:])
    if not all(map(find_spec, NEEDED)):
        sys.stderr.write(MISSING)
        return EXIT_USAGE
    from redisflow.cli.app import run_command  # noqa: PLC0415  # only where its extra is installed

    return run_command(words)


def run() -> int:
    """`main` as a process of its own.

    A fifth of a short command's time would go into looking for garbage among all that it has imported: while it
    starts, and once more when the interpreter ends.
    """
    if not LONG.intersection(sys.argv[1:2]):
        gc.set_threshold(STARTING)
    try:
        return main()
    finally:
        gc.freeze()


if __name__ == "__main__":
    sys.exit(run())
