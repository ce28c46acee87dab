"""The web application: it starts runs and asks for them. `uvicorn app:app --reload` beside `redisflow dev`.

Both must mean the same Redis: `redisflow dev` prints the REDISFLOW_URL of its own.
"""

from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException

from redisflow import RedisFlow, RunNotFound
from workflows import Approval, Order, flow, process_order

app = FastAPI(lifespan=flow.lifespan())
Flow = Annotated[RedisFlow, Depends(flow)]


@app.post("/orders", status_code=202)
async def create_order(order: Order) -> dict[str, str]:
    """A browser that sends the form twice starts one run."""
    handle = await process_order.run(order, idempotency_key=order.id)
    return {"run_id": handle.id}


@app.get("/orders/{run_id}")
async def read_order(run_id: str, flow: Flow) -> dict[str, str | None]:
    try:
        run = await flow.get_run(run_id)
    except RunNotFound as error:
        raise HTTPException(404, "no such order") from error
    return {"status": run.status, "waiting_for": run.waiting_for}


@app.post("/orders/{run_id}/approval", status_code=202)
async def approve_order(run_id: str, approval: Approval, flow: Flow) -> None:
    await flow.signal(run_id, "approval", approval, idempotency_key="approval")
