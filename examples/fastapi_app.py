"""A FastAPI application with a worker in its own process: `uvicorn examples.fastapi_app:app`.

Leave `worker=True` out where workers are processes of their own (`redisflow worker examples.fastapi_app:flow`).
"""

import os
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel

from redisflow import RedisFlow, ResultTimeout, RunNotFound, Step

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="fastapi-app")


class Order(BaseModel):
    id: str
    cups: int


class Receipt(BaseModel):
    order_id: str
    cents: int


async def charge(order: Order) -> int:
    return 600 * order.cups


@flow.define_workflow("order")
async def process_order(order: Order, step: Step) -> Receipt:
    cents = await step.run("charge", charge, order)
    await step.sleep("pack", "50ms")
    return Receipt(order_id=order.id, cents=cents)


app = FastAPI(lifespan=flow.lifespan(worker=True, concurrency=50, grace="5s"))


@app.post("/orders", status_code=202)
async def create_order(order: Order) -> dict[str, str]:
    """A browser that sends the form twice starts one run."""
    handle = await process_order.run(order, idempotency_key=order.id)
    return {"run_id": handle.id}


@app.get("/orders/{run_id}")
async def read_order(run_id: str, flow: Annotated[RedisFlow, Depends(flow)]) -> Receipt | dict[str, str]:
    """Wait for a moment, and say how far it is if that is not enough."""
    handle = await flow.get_handle(run_id, process_order)
    try:
        return await handle.result(timeout="10s")
    except ResultTimeout:
        return {"status": (await handle.get()).status}
    except RunNotFound as error:
        raise HTTPException(404, "no such order") from error


@app.get("/orders/{run_id}/status")
def read_status(run_id: str) -> dict[str, str]:
    """A sync endpoint runs in a thread, and asks there."""
    return {"status": flow.sync.get_run(run_id).status}
