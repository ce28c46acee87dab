"""One `redisflow dev`, from its start to its end: what it starts, it ends, in the opposite order."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redisflow.backend.connect import mask_url
from redisflow.cli.changes import changes_below
from redisflow.cli.dev.keys import has_keys, read_keys
from redisflow.cli.dev.pages import Pages, listen, open_in_browser
from redisflow.cli.dev.server import DevServer, NamedServer, OwnServer, open_server
from redisflow.cli.dev.workers import Found, WorkerKeeper
from redisflow.cli.exits import EXIT_FAILED, EXIT_INTERRUPTED
from redisflow.cli.signals import on_ending_signals
from redisflow.words import counted

if TYPE_CHECKING:
    from redisflow.cli.dev.log import DevLog
    from redisflow.cli.settings import Setting

KEYS = "r restart, o open the dashboard, c clear the data, q quit"


@dataclass(frozen=True, slots=True, kw_only=True)
class DevOptions:
    """What was typed."""

    target: str
    url: Setting | None
    """None: a server of this folder."""
    port: int
    headless: bool
    reload: bool
    ephemeral: bool
    opens: bool


class Session:
    """See the module."""

    def __init__(self, options: DevOptions, log: DevLog, folder: Path) -> None:
        """In the event loop that runs it."""
        self._options = options
        self._log = log
        self._folder = folder
        self._began_s = time.monotonic()
        self._over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._server: DevServer
        self._keeper: WorkerKeeper
        self._pages: Pages | None = None
        self._is_asked = False
        """Whether the next key answers a question."""
        self._is_clearing = False
        self._has_opened = not options.opens
        self._tasks: set[asyncio.Task[None]] = set()
        self._no_more = asyncio.Event()
        """For the thread that looks for changes: it does not hear of a cancellation."""

    async def run(self) -> int:
        """Until somebody ends it; returns the exit code."""
        with on_ending_signals(self._asked_to_end):
            async with AsyncExitStack() as stack:
                await self._start(stack)
                self._begin(self._work())
                self._begin(self._follow_the_server())
                if self._options.reload:
                    self._begin(self._take_up_changes())
                stack.push_async_callback(self._end_tasks)
                with read_keys(self._on_key):
                    code = await self._over
                self._log.say("stopping")
        return code

    async def _start(self, stack: AsyncExitStack) -> None:
        options = self._options
        self._server = await self._open_server()
        stack.push_async_callback(self._server.close)
        environment = {"REDISFLOW_URL": self._server.url}
        if not options.headless:
            self._pages = Pages(listen(options.port, self._log), self._log, environment)
            stack.push_async_callback(self._pages.close)
            self._log.dashboard = self._pages.url
        self._server.say(self._log.dashboard)
        self._keeper = WorkerKeeper(options.target, self._log, environment, self._works, waits=options.reload)
        stack.push_async_callback(self._keeper.stop)
        self._keeper.request("")
        self._show_facts()

    async def _open_server(self) -> DevServer:
        if self._options.url is not None:
            server = NamedServer(self._options.url.value or "", self._options.url.source)
            await server.check()
            return server
        return await open_server(self._folder, ephemeral=self._options.ephemeral)

    def _show_facts(self) -> None:
        rows = [("app", self._options.target), ("server", self._server.describe())]
        rows.append(("url", f"REDISFLOW_URL={mask_url(self._server.url)}"))
        if self._pages is not None:
            rows.append(("dashboard", self._pages.url))
        if has_keys():
            rows.append(("keys", KEYS))
        self._log.facts(rows)

    # -- what goes on until the end -------------------------------------------------------------------------------

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_is_over)

    def _task_is_over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._over.done():
            self._over.set_exception(error)

    async def _end_tasks(self) -> None:
        self._no_more.set()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self) -> None:
        await self._keeper.run()
        self._end(EXIT_FAILED)

    async def _works(self, found: Found, reason: str) -> None:
        """A worker has just begun to work."""
        what = counted(len(found.workflows), "workflow")
        if reason:
            self._log.say(f"{reason}: {found.app} with {what} was taken up")
        else:
            took_s = time.monotonic() - self._began_s
            self._log.say(f"ready in {took_s:.1f} s: {found.app}, {what}: {', '.join(found.workflows)}")
        if self._pages is not None:
            await self._pages.serve(found.app, found.namespace)
            if not self._has_opened:
                self._has_opened = True
                await asyncio.to_thread(open_in_browser, self._pages.url, os.environ)

    async def _follow_the_server(self) -> None:
        why = await self._server.wait_until_gone()
        self._log.say(why, "ERROR")
        self._end(EXIT_FAILED)

    async def _take_up_changes(self) -> None:
        async for what in changes_below([self._folder], self._no_more):
            self._keeper.request(what)

    # -- what people ask for --------------------------------------------------------------------------------------

    def _end(self, code: int) -> None:
        if not self._over.done():
            self._over.set_result(code)

    def _asked_to_end(self, number: signal.Signals) -> None:
        if self._over.done():
            self._keeper.hurry()
        self._end(EXIT_INTERRUPTED if number == signal.SIGINT else 0)

    def _on_key(self, key: str) -> None:
        if self._is_asked:
            self._is_asked = False
            if key in "yY":
                self._is_clearing = True
                self._log.say("clearing the data")
                self._begin(self._clear())
            else:
                self._log.say("nothing is cleared")
        elif key == "r":
            self._keeper.request("as you asked")
        elif key == "o" and self._pages is not None:
            self._begin(asyncio.to_thread(open_in_browser, self._pages.url, os.environ))
        elif key == "c" and not self._is_clearing:
            self._is_asked = True
            self._log.say("Clear all runs and all else that the server holds? y/n")
        elif key == "q":
            self._end(0)

    async def _clear(self) -> None:
        try:
            if not isinstance(self._server, OwnServer):
                self._log.say(self._server.why_not_cleared, "WARNING")
                return
            await self._keeper.pause()
            if self._pages is not None:
                await self._pages.stop()
            await self._server.clear()
            self._log.say("the data are cleared")
            self._keeper.request("begun anew")
        finally:
            self._is_clearing = False
