"""A dashboard that can be looked at: a real server, a worker, and uvicorn, in a thread beside the browser's.

The browser is driven from the test's own thread, and blocks it. So all that serves runs in one event loop elsewhere,
and `Stage.run` carries a coroutine over to it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Self, TypeVar

import uvicorn

from redisflow import RedisFlow
from redisflow.dashboard.app import dashboard_app

T = TypeVar("T")
WITHIN_S = 30.0


class Stage:
    """One flow with one worker, and as many dashboards of it as a test wants."""

    def __init__(self, url: str, namespace: str, define: Callable[[RedisFlow], Any]) -> None:
        """`define` declares the workflows; what it returns is `parts`."""
        self.flow = RedisFlow(url, namespace=namespace)
        self.parts = define(self.flow)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stage")
        self._servers: list[tuple[uvicorn.Server, concurrent.futures.Future[None]]] = []
        self._over = asyncio.Event()

    def __enter__(self) -> Self:
        """Connect, and let a worker take up runs."""
        self._thread.start()
        self.run(self.flow.open())
        self._worker = self.submit(self._work())
        return self

    def __exit__(self, *_: object) -> None:
        """End all of it; whoever still waits is told first."""
        for server, ended in self._servers:
            server.should_exit = True
            ended.result(WITHIN_S)
        self.call(self._over.set)
        self._worker.result(WITHIN_S)
        self.run(self.flow.close())
        self.run(_end_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WITHIN_S)
        self._loop.close()

    async def _work(self) -> None:
        worker = asyncio.create_task(self.flow.new_worker(grace=0).run())
        await asyncio.wait([worker, asyncio.create_task(self._over.wait())], return_when=asyncio.FIRST_COMPLETED)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Let it run there."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What it returns."""
        return self.submit(coroutine).result(WITHIN_S)

    def call(self, function: Callable[[], object]) -> None:
        """Call it there."""
        self._loop.call_soon_threadsafe(function)

    def serve(self, app: Any = None, **options: Any) -> str:
        """Serve this application, or the dashboard with these options; its origin."""
        listener = socket.create_server(("127.0.0.1", 0))
        made = app if app is not None else dashboard_app(self.flow, **options)
        config = uvicorn.Config(made, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        self._servers.append((server, self.submit(server.serve(sockets=[listener]))))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    # -- runs ---------------------------------------------------------------------------------------------------------

    def start(self, workflow: Any, value: Any = None, /, **options: Any) -> str:
        """Start a run; its id."""
        return self.run(self.flow.run_workflow(workflow, value, **options)).workflow_run.id

    def finish(self, run_id: str) -> str:
        """Wait for its end; the id again."""

        async def wait() -> None:
            handle = await self.flow.get_handle(run_id)
            await asyncio.gather(handle.result(), return_exceptions=True)

        self.run(wait())
        return run_id

    def status(self, run_id: str) -> str:
        """As `waiting:timer`, or `succeeded`."""
        run = self.run(self.flow.get_run(run_id))
        return f"{run.status}:{run.waiting_for}" if run.waiting_for else run.status

    def until(self, run_id: str, *wanted: str) -> str:
        """Wait until it has one of these; the id again."""

        async def wait() -> None:
            while (await self._word(run_id)) not in wanted:  # noqa: ASYNC110  # it is in the server
                await asyncio.sleep(0.02)

        self.run(wait())
        return run_id

    async def _word(self, run_id: str) -> str:
        run = await self.flow.get_run(run_id)
        return f"{run.status}:{run.waiting_for}" if run.waiting_for else run.status


async def _end_others() -> None:
    """Streams leave a task behind that waits for the end of a server which it does not know."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@contextlib.contextmanager
def open_stage(url: str, namespace: str, define: Callable[[RedisFlow], Any]) -> Iterator[Stage]:
    """One, for as long as it is needed."""
    with Stage(url, namespace, define) as stage:
        yield stage
