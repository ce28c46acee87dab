"""The endpoints, on a server of the tests, with a worker beside them."""

import asyncio

import pytest

from app import approve_order, create_order, read_order
from redisflow import RedisFlow
from workflows import Approval, Order, process_order

pytestmark = pytest.mark.anyio


@pytest.mark.usefixtures("worker", "clock")
async def test_an_order_is_taken_approved_and_shipped(rf: RedisFlow) -> None:
    order = Order(id="order-3", items=["teapot"], cents=20_000)
    run_id = (await create_order(order))["run_id"]
    assert await create_order(order) == {"run_id": run_id}
    await approve_order(run_id, Approval(approved=True, by="Ada"), rf)
    handle = await rf.get_handle(run_id, process_order)
    await asyncio.wait_for(handle.result(), timeout=30)
    assert (await read_order(run_id, rf))["status"] == "succeeded"
