"""`redisflow worker --reload`: a new worker in place of the one that is there, whenever the code has changed."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Collection, Sequence
from importlib.util import find_spec
from pathlib import Path

from redisflow.cli.changes import changes_below
from redisflow.cli.child import Child
from redisflow.cli.exits import EXIT_FAILED, EXIT_USAGE
from redisflow.cli.problems import say_what_file, tell_problem
from redisflow.cli.signals import on_ending_signals
from redisflow.durations import to_ms
from redisflow.worker.supervisor import EXIT_DRAINED, GOOD_BYE_S

OPTION = "--reload"
_KILLED_AFTER_S = GOOD_BYE_S + 5.0
"""After the grace period; with `--processes` what is started here kills its own after `GOOD_BYE_S`."""


def run_reloading(arguments: Sequence[str], read: argparse.Namespace) -> int:
    """Work as these words say, in a process of its own that is stopped as on SIGTERM and started anew at each change.

    Python files in the current folder and below count, and in those of `--path`. A worker that ends by itself, as one
    whose code cannot be imported, is started anew at the next change. A signal ends both, a second one at once.
    """
    if sys.platform == "win32":
        return _refuse(f"{OPTION} needs Linux or macOS", "on Windows it runs in WSL")
    if find_spec("watchfiles") is None:
        return _refuse(f"{OPTION} needs what watches files", "pip install 'redisflow[cli]'")
    for folder in read.path:
        if not Path(folder).exists():
            return _refuse(f"--path {folder}: there is no such folder", f"{OPTION} watches the folders of --path")
    grace_s = to_ms(read.grace, what="grace") / 1000
    # The parser takes words that are cut short, too: what is started here must not do the same again.
    words = [word for word in arguments if not (word.startswith("--r") and OPTION.startswith(word))]
    folders = dict.fromkeys(Path(folder).resolve() for folder in (".", *read.path))
    try:
        asyncio.run(_Reloading(words, folders, grace_s + _KILLED_AFTER_S).run())
    except OSError as error:
        return _refuse(say_what_file(error), None, EXIT_FAILED)
    return 0


def _refuse(message: str, hint: str | None, code: int = EXIT_USAGE) -> int:
    tell_problem(message, code, hint, is_json=False, kind="NoReload")
    return code


def _say(text: str) -> None:
    sys.stderr.write(f"redisflow: {text}\n")


class _Reloading:
    """From the start of the first worker to the end of the last."""

    def __init__(self, words: Sequence[str], folders: Collection[Path], stop_within_s: float) -> None:
        self._command = ["redisflow", "worker", *words, "--supervisor", "{control}"]
        self._folders = folders
        self._stop_within_s = stop_within_s
        self._child: Child | None = None
        self._is_over = False
        self._next = asyncio.Event()
        """The worker that is there is to be stopped: because of a change, or for good."""
        self._no_more = asyncio.Event()

    async def run(self) -> None:
        """Until a signal. OSError where changes cannot be seen."""
        with on_ending_signals(self._asked_to_end):
            watching = asyncio.create_task(self._watch(), name="watch files")
            await asyncio.sleep(0)  # from here on it misses nothing
            try:
                while not self._is_over:
                    await self._work_until_change()
            finally:
                self._no_more.set()
                watching.cancel()
                (ended,) = await asyncio.gather(watching, return_exceptions=True)
        if isinstance(ended, Exception):
            raise ended

    async def _watch(self) -> None:
        try:
            async for what in changes_below(self._folders, self._no_more):
                _say(f"{what}: the worker starts again")
                self._next.set()
        finally:
            self._end()

    async def _work_until_change(self) -> None:
        self._next.clear()  # whatever has changed until now, a worker that starts now imports
        child = self._child = await Child.spawn(self._command, None, environment={})
        telling = asyncio.create_task(self._tell_of_end(child))
        await self._next.wait()
        await child.stop(self._stop_within_s)
        await telling

    async def _tell_of_end(self, child: Child) -> None:
        code = await child.ended()
        if not self._next.is_set():
            how = f" by {signal.Signals(-code).name}" if code < 0 else f" with exit code {code}"
            _say(f"the worker ended{'' if code in {0, EXIT_DRAINED} else how}, and starts again at the next change")

    # -- the end --------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        self._is_over = True
        self._next.set()

    def _asked_to_end(self, _number: signal.Signals) -> None:
        if self._is_over and self._child is not None:
            # It hands everything back at once. Two SIGTERM in a row may arrive as one.
            self._child.signal(signal.SIGINT)
            asyncio.get_running_loop().call_later(GOOD_BYE_S, self._child.signal, signal.SIGKILL)
        self._end()
