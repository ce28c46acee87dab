"""`redisflow worker --reload`: a new worker in place of the one that is there, whenever the code has changed."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from redisflow.cli.exits import EXIT_USAGE
from redisflow.durations import to_ms
from redisflow.worker.supervisor import GOOD_BYE_S

OPTION = "--reload"


def run_reloading(arguments: Sequence[str], read: argparse.Namespace) -> int:
    """Work as these words say, in a process of its own that is stopped as by Ctrl-C and started anew at each change.

    Python files in the current folder and below count, and in those of `--path`. A worker that ends by itself, as one
    whose code cannot be imported, is started anew at the next change.
    """
    try:
        from watchfiles import PythonFilter, run_process  # noqa: PLC0415  # an extra
    except ImportError:
        sys.stderr.write(f"redisflow: {OPTION} needs what watches files: pip install 'redisflow[cli]'\n")
        return EXIT_USAGE
    # The parser takes words that are cut short, too: what is started here must not do the same again.
    words = [word for word in arguments if not (word.startswith("--r") and OPTION.startswith(word))]
    run_process(
        *dict.fromkeys(Path(folder).resolve() for folder in (".", *read.path)),
        target=shlex.join([sys.executable, "-m", "redisflow", "worker", *words]),
        target_type="command",
        watch_filter=PythonFilter(),
        sigint_timeout=math.ceil(to_ms(read.grace, what="grace") / 1000 + GOOD_BYE_S),
        callback=lambda changes: _tell(sorted({Path(path).name for _, path in changes})),
    )
    return 0


def _tell(names: Sequence[str]) -> None:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    sys.stderr.write(f"redisflow: {names[0]}{more} changed: the worker starts again\n")
