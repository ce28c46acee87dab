"""Results: wait for one, start from a web endpoint and return the run's id, poll for the status.

The web server below is a few lines of asyncio, so that nothing needs to be installed. With a framework, open the flow
where the application starts (`async with flow:`) and write the two handlers as they stand here.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel

from redisflow import InvalidInput, RedisFlow, ResultTimeout, RunNotFound, Step, WorkflowRun

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="results")


class Export(BaseModel):
    table: str
    rows: int


async def write_file(export: Export) -> str:
    await asyncio.sleep(1.0)
    return f"{export.table}.csv ({export.rows} rows)"


@flow.define_workflow("export-table")
async def export_table(export: Export, step: Step) -> str:
    return await step.run("write-file", write_file, export)


# -- wait for the result ----------------------------------------------------------------------------------------------


async def wait_for_it() -> str:
    handle = await export_table.run(Export(table="orders", rows=10))
    try:
        await handle.result(timeout="50ms")
    except ResultTimeout as not_yet:
        # The run goes on: waiting for a result is not what keeps it alive.
        print("not yet:", str(not_yet).replace(handle.id, "<id>"))
    return await handle.result(timeout="1m")


# -- a web endpoint that returns the run's id, and one to poll --------------------------------------------------------


async def post_export(body: bytes) -> tuple[int, dict[str, Any]]:
    """POST /exports: 202 with the run's id, at once."""
    try:
        handle = await export_table.run(Export.model_validate_json(body))
    except (ValueError, InvalidInput) as refused:
        return 422, {"error": type(refused).__name__}
    return 202, {"run_id": handle.id}


async def get_export(run_id: str) -> tuple[int, dict[str, Any]]:
    """GET /exports/<run id>: its status, and its output once there is one."""
    try:
        run = await flow.get_run(run_id)
    except RunNotFound:
        return 404, {"error": "no such export"}
    return 200, {"status": run.status, "file": run.output}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As much of HTTP as the example needs."""
    method, path, _ = (await reader.readline()).decode().split()
    length = 0
    while (line := await reader.readline()).strip():
        name, _, value = line.decode().partition(":")
        length = int(value) if name.lower() == "content-length" else length
    body = await reader.readexactly(length)
    status, answer = await (post_export(body) if method == "POST" else get_export(path.removeprefix("/exports/")))
    data = json.dumps(answer).encode()
    writer.write(f"HTTP/1.1 {status} .\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def request(port: int, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, Any]]:
    """Ask the server as a browser would."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, data = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(data)


# -- poll for the status ----------------------------------------------------------------------------------------------


async def poll(look: Callable[[], Awaitable[WorkflowRun]]) -> WorkflowRun:
    """Where a subscription is not wanted: look now and then."""
    while True:
        run = await look()
        if run.is_finished:
            return run
        await asyncio.sleep(0.1)


async def main() -> None:
    async with flow, flow.new_worker():
        print("result:", await wait_for_it())

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            status, answer = await request(port, "POST", "/exports", b'{"table": "users", "rows": 3}')
            print("POST /exports:", status, sorted(answer))
            run_id = answer["run_id"]
            run = await poll(lambda: flow.get_run(run_id))
            print("polled:", run.status, run.output)
            print("GET /exports/<id>:", *await request(port, "GET", f"/exports/{run_id}"))
            print("a bad request:", *await request(port, "POST", "/exports", b'{"table": 1}'))


if __name__ == "__main__":
    asyncio.run(main())
