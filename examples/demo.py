"""The demo: an order whose worker is killed in the middle, on a real server with real processes.

It starts an embedded Valkey with its data in `.redisflow/` of the current folder, and two workers one after the other.
Everything that is printed is read from the run itself or from the ledger that its steps write.
"""

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

    async with flow:
        seen: set[str] = set()
        with worker(url, "worker 1") as first:
            handle = await process_order.run(ORDER, deadline_at="1h", idempotency_key="order-1")
            say(f"order-1 enqueued as run {handle.id}")
            await follow(handle.id, seen, until="charge-card")
            await follow(handle.id, seen, until="reserve-inventory")
            first.kill()
            first.wait()
            say("worker 1 killed with SIGKILL, in the middle of the shipment", RED + BOLD)
        with worker(url, "worker 2"):
            say(f"the run's lease ends within {LEASE}; then worker 2 takes over and replays what is recorded")
            await follow(handle.id, seen, until=None)
            receipt = await handle.result(timeout="1m")
            run = await handle.get()
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
        asyncio.run(story(server.url))
    shutil.rmtree(HOME, ignore_errors=True)
    with contextlib.suppress(OSError):  # somebody else's data may be there, too
        HOME.parent.rmdir()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
