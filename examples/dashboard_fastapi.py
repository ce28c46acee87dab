"""The dashboard inside a FastAPI application: `uvicorn examples.dashboard_fastapi:app`, then open /ops/runs.

Who comes in is asked here by a password for each person. What a card number is never leaves the process.
"""

import os
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from redisflow import RedisFlow, Step
from redisflow.dashboard import BasicAuth, Role, dashboard_app

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="dashboard-fastapi")


class Order(BaseModel):
    id: str
    card: str
    cups: int


async def charge(order: Order) -> int:
    return 600 * order.cups


@flow.define_workflow("order")
async def process_order(order: Order, step: Step) -> int:
    return await step.run("charge", charge, order)


def hide_cards(path: tuple[str | int, ...], value: Any) -> Any:
    """Called with each value of a payload before it is shown; what is returned is shown instead."""
    return f"...{str(value)[-4:]}" if path[-1] == "card" else value


# Passwords come from where secrets are kept; these are for a laptop.
people = BasicAuth(
    {
        "vera": (os.environ.get("VERAS_PASSWORD", "vera looks on"), Role.VIEWER),
        "otto": (os.environ.get("OTTOS_PASSWORD", "otto operates"), Role.OPERATOR),
    }
)

app = FastAPI(lifespan=flow.lifespan(worker=True, grace="5s"))
# A name by which others reach it has to be allowed: allowed_hosts=["flows.example.com"].
app.mount("/ops", dashboard_app(flow, auth=people, redact=hide_cards))


@app.post("/orders", status_code=202)
async def create_order(order: Order) -> dict[str, str]:
    handle = await process_order.run(order, idempotency_key=order.id)
    return {"run_id": handle.id, "page": f"/ops/runs/{handle.id}"}
