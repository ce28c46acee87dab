"""The worker of `redisflow dev`: it imports first, says what it found, and works when it is told to.

So new code has been imported before the worker with the old one is stopped. Its log is lines of JSON behind a mark,
which `redisflow dev` prints for people.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import sys
import traceback
from collections.abc import AsyncGenerator
from pathlib import Path
from types import TracebackType
from typing import Any

from redisflow.backend.connect import is_same_place, mask_url
from redisflow.cli.dev.between import GRACE_S, MARK
from redisflow.cli.exits import BadTarget
from redisflow.cli.target import load_app
from redisflow.flow import RedisFlow
from redisflow.worker.options import Resources, WorkerOptions
from redisflow.worker.process import run_worker_process
from redisflow.worker.supervisor import Supervisor

_OURS = str(Path(__file__).parents[1])


class Records(logging.Formatter):
    """Each record as a line."""

    def format(self, record: logging.LogRecord) -> str:
        """As JSON, with the run that it is about."""
        said = {
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "run_id": getattr(record, "run_id", None),
            "workflow": getattr(record, "workflow", None),
            "error": self.formatException(record.exc_info) if record.exc_info else None,
        }
        return MARK + json.dumps(said)


def main() -> int:
    """`python -m redisflow.cli.dev.worker_process TARGET DESCRIPTOR`."""
    target, descriptor = sys.argv[1], int(sys.argv[2])
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    # From now on: what is imported may block for ever.
    supervisor = Supervisor(os.dup(descriptor), WorkerOptions(grace=GRACE_S))
    supervisor.follow()
    _log_as_records()
    try:
        name, flow = load_app(target)
    except BadTarget as error:
        return _say(control, error=str(error), trace="")
    except BaseException as error:  # noqa: BLE001  # code of users: also SystemExit at the top of a module
        return _say(control, error=f"{type(error).__name__}: {error}", trace=_trace(error))
    served = flow.served()
    _say(
        control,
        app=name,
        workflows=served.workflows,
        namespace=flow.namespace,
        elsewhere=_elsewhere(flow),
    )
    supervisor.wait_to_begin()
    _work(flow, control)
    return 0


def _log_as_records() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Records())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("redisflow.worker").setLevel(logging.DEBUG)  # a line for each run


def _say(control: socket.socket, **said: Any) -> int:
    with contextlib.suppress(OSError):
        control.sendall(json.dumps(said).encode() + b"\n")
    return 1 if "error" in said else 0


def _elsewhere(flow: RedisFlow) -> str | None:
    """The URL of the flow where that is not what `redisflow dev` says."""
    own = flow.location.url
    return None if is_same_place(own, os.environ["REDISFLOW_URL"]) else mask_url(own)


def _trace(error: BaseException) -> str:
    """The traceback from the first line of the user's code on."""
    first: TracebackType | None = error.__traceback__
    while first is not None and _is_ours(first.tb_frame.f_code.co_filename):
        first = first.tb_next
    return "".join(traceback.format_exception(type(error), error, first))


def _is_ours(path: str) -> bool:
    return path.startswith((_OURS, "<frozen importlib")) or path.endswith("importlib/__init__.py")


def _work(flow: RedisFlow, control: socket.socket) -> None:
    async def work() -> None:
        async with flow:
            await flow.new_worker(grace=GRACE_S, resources=_announcing(flow, control)).run()

    try:
        run_worker_process(work())
    except Exception as error:  # noqa: BLE001  # it is told in the log of `redisflow dev`
        logging.getLogger("redisflow.dev").error("the worker ended: %s", error)  # noqa: TRY400  # its words say it
        sys.exit(1)


def _announcing(flow: RedisFlow, control: socket.socket) -> Resources:
    """The flow's own resources: they are the last that a worker opens before it claims, so now it works."""

    @contextlib.asynccontextmanager
    async def announcing() -> AsyncGenerator[Any]:
        async with flow.resources() if flow.resources is not None else contextlib.nullcontext() as resources:
            _say(control, works=True)
            yield resources

    return announcing


if __name__ == "__main__":
    sys.exit(main())
