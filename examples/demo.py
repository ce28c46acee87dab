"""The demo: an order whose worker is killed in the middle, on a real server with real processes.

It starts an embedded Valkey with its data in `.redisflow/` of the current folder, and two workers one after the other.
Everything that is printed is read from the run itself or from the ledger that its steps write. The dashboard shows the
same for as long as the demo lasts: with KEEP=1 until it is ended with Ctrl-C.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from examples.order import Receipt
    from redisflow import WorkflowRun

FLOW = f"{Path(__file__).resolve().with_name('order.py')}:flow"
HOME = Path(".redisflow/demo")
LEDGER = HOME / "ledger.txt"
LEASE = "3s"
TIMEOUT_S = 90.0

BOLD, DIM, RED, GREEN, YELLOW, PLAIN = (
    ("\033[1m", "\033[2m", "\033[31m", "\033[32m", "\033[33m", "\033[0m")
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ
    else ("",) * 6
)
_began = time.monotonic()


def say(text: str, colour: str = "") -> None:
    """One line, with the seconds since the start."""
    print(f"{DIM}{time.monotonic() - _began:6.2f}s{PLAIN}  {colour}{text}{PLAIN}", flush=True)


@contextlib.contextmanager
def worker(url: str, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process, as one would start it by hand."""
    with (HOME / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  # our own command line
            [sys.executable, "-m", "redisflow", "worker", FLOW, "--lease", LEASE],
            env={**os.environ, "REDISFLOW_URL": url, "ORDER_LEDGER": str(LEDGER)},
            stdout=log,
            stderr=log,
        )
    say(f"{name} started (process {process.pid}, lease {LEASE})", BOLD)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def dashboard(url: str, namespace: str) -> Iterator[str]:
    """The dashboard, and its address."""
    process = subprocess.Popen(  # noqa: S603  # our own command line
        [sys.executable, "-m", "redisflow", "dashboard", "--url", url, "--namespace", namespace, "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
    )
    said = process.stderr
    if said is None:
        raise AssertionError
    try:
        yield said.readline().split(" ")[0].strip()
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        said.close()
        process.wait()


async def follow(run_id: str, seen: set[str], until: str | None) -> bool:
    """Print what is new in the run, until a step has succeeded or the run has ended. True when it has ended."""
    from examples.order import flow

    while time.monotonic() - _began < TIMEOUT_S:
        run = await flow.get_run(run_id)
        for step in run.steps:
            line = f"  step {step.key}: {step.status}"
            if step.attempt > 1:
                line += f" (attempt {step.attempt})"
            if step.status == "waiting" and step.error is not None:
                line += f", {step.error.error_type}: {step.error.message}; tried again"
            if line not in seen:
                seen.add(line)
                colour = {"succeeded": GREEN, "failed": RED, "waiting": YELLOW}.get(step.status, "")
                say(line, colour)
        if run.is_finished:
            return True
        done = [step.key for step in run.steps if step.status == "succeeded"]
        if until is not None and until in done:
            return False
        await asyncio.sleep(0.03)
    msg = f"the demo took longer than {TIMEOUT_S:.0f} s; see the logs in {HOME}"
    raise SystemExit(msg)


async def story(url: str) -> None:
    """One order, two workers, one kill."""
    from examples.order import ORDER, flow, process_order

    async with flow, contextlib.AsyncExitStack() as stack:
        seen: set[str] = set()
        pages = stack.enter_context(dashboard(url, flow.namespace))
        with worker(url, "worker 1") as first:
            handle = await process_order.run(ORDER, deadline_at="1h", idempotency_key="order-1")
            say(f"order-1 enqueued as run {handle.id}")
            say(f"watch it: {pages}runs/{handle.id}", BOLD)
            await follow(handle.id, seen, until="charge-card")
            await follow(handle.id, seen, until="reserve-inventory")
            first.kill()
            first.wait()
            say("worker 1 killed with SIGKILL, in the middle of the shipment", RED + BOLD)
        stack.enter_context(worker(url, "worker 2"))
        say(f"the run's lease ends within {LEASE}; then worker 2 takes over and replays what is recorded")
        await follow(handle.id, seen, until=None)
        receipt = await handle.result(timeout="1m")
        tell_the_end(await handle.get(), receipt)
        if os.environ.get("KEEP", "") not in {"", "0"}:
            print(f"\n{BOLD}The dashboard stays: {pages}runs/{handle.id}{PLAIN}  (Ctrl-C ends it)", flush=True)
            await asyncio.Event().wait()


def tell_the_end(run: WorkflowRun, receipt: Receipt) -> None:
    """What came of it, and what really happened."""
    say(f"order-1 {run.status}, after {run.claims} claims by two workers", GREEN + BOLD)
    say(f"receipt: {receipt.parcel}, {receipt.amount} paid with {receipt.payment_id}")
    lines = LEDGER.read_text(encoding="utf-8").splitlines()
    print(f"\nWhat really happened ({LEDGER}):")
    for line in lines:
        print(f"    {line}")
    charges = sum(line.startswith("charged") for line in lines)
    if charges != 1:
        msg = f"the card was charged {charges} times"
        raise SystemExit(msg)
    print(f"\n{GREEN}The card was charged once, though the worker that charged it died.{PLAIN}")
    print("What is recorded is recorded exactly once; what runs, runs at least once: see README.md.")


def main() -> None:
    """Start a server, play the story, clean up."""
    from redisflow.testing import ServerOptions, start_server

    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    print(f"{BOLD}redisflow demo{PLAIN}: an order survives the death of its worker\n")
    with start_server(ServerOptions(data_dir=HOME / "server")) as server:
        say(f"{server.version} started on {server.url}, data in {HOME}/server (AOF)", BOLD)
        os.environ["REDISFLOW_URL"] = server.url
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(story(server.url))
    shutil.rmtree(HOME, ignore_errors=True)
    with contextlib.suppress(OSError):  # somebody else's data may be there, too
        HOME.parent.rmdir()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
