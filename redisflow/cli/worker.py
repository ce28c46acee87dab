"""`redisflow worker module:flow`: what a worker process runs.

It is read by argparse, since it needs no extra: an image of workers installs the core alone. Django's command takes its
options from here as well.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import sys
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from redisflow.cli.exits import EXIT_FAILED, EXIT_UNREACHABLE, EXIT_USAGE, BadTarget
from redisflow.cli.target import import_target, load_flow
from redisflow.errors import BackendUnavailable, RedisflowError, WorkerProcessFailed
from redisflow.flow import RedisFlow
from redisflow.telemetry.logs import JsonLines, RunFields
from redisflow.worker.address import Address
from redisflow.worker.options import Resources, WorkerOptions
from redisflow.worker.process import run_worker_process
from redisflow.worker.processes import WorkerProcesses
from redisflow.worker.supervisor import EXIT_DRAINED, Supervisor
from redisflow.worker.target import Target

_LINE = "%(asctime)s %(levelname)-7s %(name)s  %(message)s"


def run(arguments: Sequence[str]) -> int:
    """Work as the words after `redisflow worker` say; returns the process's exit code."""
    read = make_parser().parse_args(arguments)
    if read.reload:
        from redisflow.cli.reload import run_reloading  # noqa: PLC0415  # where it is asked for

        try:
            return run_reloading(arguments, read)
        except (RedisflowError, ValueError) as error:
            return _fail(str(error), EXIT_FAILED)
    return start_worker(read)


def start_worker(read: argparse.Namespace) -> int:
    """Work as the words say (see `add_worker_options`, and `flow`); returns the process's exit code."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RunFields())
    handler.setFormatter(JsonLines() if read.log_format == "json" else logging.Formatter(_LINE))
    logging.basicConfig(level=logging.DEBUG if read.debug else logging.INFO, handlers=[handler])
    try:
        options = worker_options(read)
        descriptor: int | None = getattr(read, "supervisor", None)
        supervisor = None if descriptor is None else Supervisor(descriptor, options)
        if supervisor is not None:
            supervisor.follow()
        if read.processes > 1:
            asyncio.run(_work_in_processes(read, options))
        else:
            return _work(read, options, supervisor)
    except BadTarget as error:
        return _fail(str(error), EXIT_USAGE)
    except WorkerProcessFailed as error:
        # The others would end alike, so its exit code is ours.
        return _fail(str(error), error.exit_code if error.exit_code > 0 else EXIT_FAILED)
    except BackendUnavailable as error:
        return _fail(str(error), EXIT_UNREACHABLE)
    except (RedisflowError, ValueError) as error:
        if read.debug:
            raise
        return _fail(str(error), EXIT_FAILED)
    return 0


def worker_options(read: argparse.Namespace) -> WorkerOptions:
    """What the words say of a worker; the flow has the resources."""
    return WorkerOptions(
        concurrency=read.concurrency,
        queues=read.queues,
        max_bodies=read.max_bodies,
        lease=read.lease,
        grace=read.grace,
        crash_limit=read.crash_limit,
        burst=read.burst,
        http=None if read.http is None else Address.parse(read.http),
    )


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"redisflow: {message}\n")
    return code


async def _work_in_processes(read: argparse.Namespace, options: WorkerOptions) -> None:
    # The flow is not imported here: what imports it is what works.
    target = Target(flow=read.flow, imports=read.imports, path=read.path)
    words = [f"--log-format={read.log_format}", *(["--debug"] if read.debug else [])]
    await WorkerProcesses(target, options, read.processes, words=words).run()


def _work(read: argparse.Namespace, options: WorkerOptions, supervisor: Supervisor | None) -> int:
    WorkerProcesses.may_start = False
    # Where this interpreter finds something by itself, it is not found elsewhere.
    sys.path[:0] = [folder for folder in read.path if folder not in sys.path]
    flow = load_flow(read.flow)
    for target in read.imports:
        import_target(target)

    is_drained = False

    async def work() -> None:
        nonlocal is_drained
        resources = None if supervisor is None else _reporting(flow, supervisor)
        worker = flow.new_worker(
            concurrency=options.concurrency,
            queues=options.queues,
            max_bodies=options.max_bodies,
            lease=options.lease,
            grace=options.grace,
            crash_limit=options.crash_limit,
            burst=options.burst,
            http=None if options.http is None else str(options.http),
            resources=resources,
        )
        async with flow:
            await worker.run()
            is_drained = worker.is_drained

    with _strict() if read.debug else contextlib.nullcontext():
        run_worker_process(work())
    return EXIT_DRAINED if is_drained and supervisor is not None else 0


def _strict() -> contextlib.AbstractContextManager[None]:
    from redisflow.testing import refuse_side_effects  # noqa: PLC0415  # its servers need POSIX, and a worker does not

    return refuse_side_effects()


def _reporting(flow: RedisFlow, supervisor: Supervisor) -> Resources:
    """The flow's own resources: they are the last that a worker opens before it claims, so now it works."""

    @contextlib.asynccontextmanager
    async def reporting() -> AsyncGenerator[Any]:
        async with flow.resources() if flow.resources is not None else contextlib.nullcontext() as resources:
            supervisor.say(flow.served())
            yield resources

    return reporting


def make_parser() -> argparse.ArgumentParser:
    """The words that there are."""
    parser = argparse.ArgumentParser(
        prog="redisflow worker",
        description=(
            "Claim and run the workflows of a RedisFlow object until SIGTERM or SIGINT. Held runs may then go on for "
            "the grace period; what is left is handed to other workers. A second signal hands everything back at once."
        ),
        epilog="Example: redisflow worker shop.workflows:flow --concurrency 50",
    )
    parser.add_argument(
        "flow", metavar="MODULE:NAME", help="the RedisFlow object, e.g. shop.workflows:flow, or path/to/file.py:flow"
    )
    parser.add_argument(
        "--reload", action="store_true", help="start again whenever Python files here change; needs redisflow[cli]"
    )
    parser.add_argument("--supervisor", type=int, help=argparse.SUPPRESS)  # a descriptor: `--processes`, `--reload`
    add_worker_options(parser)
    return parser


def add_worker_options(parser: argparse.ArgumentParser) -> None:
    """The options of `redisflow worker`, for commands that know their flow by themselves as well."""
    defaults = WorkerOptions()
    add = parser.add_argument
    add("--import", dest="imports", type=_names, default=(), metavar="A,B", help="modules to import besides")
    add("--path", type=_folders, default=(), metavar="DIR", help="folders to import from, besides the current one")
    add("--concurrency", type=int, default=defaults.concurrency, help="runs held at once (%(default)s)")
    add("--max-bodies", type=int, default=defaults.max_bodies, help="step bodies running at once (%(default)s)")
    add("--queues", type=_names, default=(), metavar="A,B", help="queues to serve (those of the workflows)")
    add("--lease", default=defaults.lease, type=_duration, help="e.g. 30s (%(default)s)")
    add("--grace", default=defaults.grace, type=_duration, help="e.g. 25s (%(default)s)")
    add("--crash-limit", type=int, default=defaults.crash_limit, help="crashes in a row that end a run (%(default)s)")
    add("--burst", action="store_true", help="end when no run is ready in its queues, and it holds none")
    add(
        "--http",
        metavar="HOST:PORT",
        help="answer /healthz, /readyz and /metrics there; several processes: PORT, PORT+1, ...",
    )
    add("--processes", type=int, default=1, help="worker processes, each with these options (%(default)s)")
    add("--log-format", choices=("text", "json"), default="text", help="lines of the log: %(choices)s (%(default)s)")
    add(
        "--debug",
        action="store_true",
        help="log each transition; refuse sockets, subprocesses and file writes in workflow code",
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _folders(text: str) -> tuple[str, ...]:
    return tuple(folder for folder in text.split(os.pathsep) if folder)


def _duration(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
