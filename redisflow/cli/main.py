"""`redisflow worker module:flow`: the entry point of a worker process. The full command line comes later."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence

import redisflow
from redisflow.cli.supervise import supervise
from redisflow.cli.target import BadTarget, load_flow
from redisflow.errors import BackendUnavailable, RedisflowError
from redisflow.worker.options import WorkerOptions

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the process's exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words)
    logging.basicConfig(
        level=logging.DEBUG if options.debug else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(name)s  %(message)s",
        stream=sys.stderr,
    )
    try:
        if options.processes > 1:
            return supervise(words, options.processes)
        return _work(options)
    except BadTarget as error:
        return _fail(str(error), EXIT_USAGE)
    except BackendUnavailable as error:
        return _fail(str(error), EXIT_UNREACHABLE)
    except (RedisflowError, ValueError) as error:
        if options.debug:
            raise
        return _fail(str(error), EXIT_FAILED)


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"redisflow: {message}\n")
    return code


def _work(options: argparse.Namespace) -> int:
    flow = load_flow(options.flow)

    async def work() -> None:
        async with flow:
            await flow.new_worker(
                concurrency=options.concurrency,
                queues=options.queues,
                lease=options.lease,
                grace=options.grace,
            ).run()

    asyncio.run(work())
    return 0


def _parser() -> argparse.ArgumentParser:
    defaults = WorkerOptions()
    parser = argparse.ArgumentParser(prog="redisflow", description="Durable workflows on Redis.")
    parser.add_argument("--version", action="version", version=f"redisflow {redisflow.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    worker = commands.add_parser(
        "worker",
        help="claim and run workflows",
        description=(
            "Claim and run the workflows of a RedisFlow object until SIGTERM or SIGINT. Held runs may then go on for "
            "the grace period; what is left is handed to other workers. A second signal hands everything back at once."
        ),
    )
    worker.add_argument("flow", metavar="MODULE:NAME", help="the RedisFlow object, e.g. shop.workflows:flow")
    worker.add_argument("--concurrency", type=int, default=defaults.concurrency, help="runs held at once (%(default)s)")
    worker.add_argument(
        "--queues", type=_names, default=(), metavar="A,B", help="queues to serve (those of the workflows)"
    )
    worker.add_argument("--lease", default=defaults.lease, type=_duration, help="e.g. 30s (%(default)s)")
    worker.add_argument("--grace", default=defaults.grace, type=_duration, help="e.g. 25s (%(default)s)")
    worker.add_argument("--processes", type=int, default=1, help="worker processes (%(default)s)")
    worker.add_argument("--debug", action="store_true", help="log each transition")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _duration(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


if __name__ == "__main__":
    sys.exit(main())
