"""`pytest`: without a server, and with a real one whose clock the test moves."""

import pytest

from redisflow.testing import VirtualClock, run_inline
from workflows import Approval, Order, Receipt, process_order

pytestmark = pytest.mark.anyio

SMALL = Order(id="order-1", items=["cup"], cents=600)
LARGE = Order(id="order-2", items=["cup", "teapot"], cents=20_000)


async def test_a_small_order_without_a_server() -> None:
    run = await run_inline(process_order, SMALL, steps={"charge": "payment-1"}, children={"shipment": "parcel-1"})
    assert run.result() == Receipt(payment="payment-1", parcel="parcel-1")


@pytest.mark.usefixtures("rf", "worker", "clock")
async def test_a_payment_that_fails_once_is_tried_again() -> None:
    handle = await process_order.run(SMALL)
    assert (await handle.result(timeout="30s")).payment == "payment-of-order-1"
    charge = (await handle.get()).step("charge")
    assert charge is not None
    assert charge.attempt == 2


@pytest.mark.usefixtures("rf", "worker", "clock")
async def test_a_large_order_waits_for_a_person() -> None:
    handle = await process_order.run(LARGE)
    await handle.signal("approval", Approval(approved=True, by="Ada"))
    assert (await handle.result(timeout="30s")).parcel == "parcel with cup, teapot"


@pytest.mark.usefixtures("rf", "worker")
async def test_an_order_that_nobody_approves_is_refunded(clock: VirtualClock) -> None:
    handle = await process_order.run(LARGE)
    await clock.advance("3d")
    await clock.advance("1m")
    run = await handle.get()
    assert run.status == "failed"
    assert run.error is not None
    assert "nobody approved it" in run.error.message
    refund = run.step("refund")
    assert refund is not None
    assert refund.status == "succeeded"
