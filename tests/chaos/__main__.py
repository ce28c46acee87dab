"""`python -m tests.chaos --minutes 10`: a campaign; at its end, what was done, what was lost, how runs recovered."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.campaign import campaign


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 1 where anything was lost, repeated or left behind."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None, help="of the faults; what processes do beside is chance")
    parser.add_argument("--runs-per-second", type=float, default=12)
    parser.add_argument("--faults-per-second", type=float, default=0.9)
    options = parser.parse_args(arguments)
    seed = secrets.randbits(32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="redisflow-chaos-") as folder:
        result = asyncio.run(
            campaign(
                Path(folder),
                seed=seed,
                seconds=options.minutes * 60,
                runs_per_s=options.runs_per_second,
                faults_per_s=options.faults_per_second,
                tell=lambda line: print(line, flush=True),
            )
        )
        if result.problems:
            print((Path(folder) / "workers.log").read_text(errors="replace")[-20_000:])
    print(result)
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
