"""Found at start-up, in web and worker processes, because the app is installed and the file has this name."""

from redisflow import Step
from redisflow.contrib.django import close_old_connections_around, get_flow

from .models import Order

flow = get_flow()


@close_old_connections_around
def reserve(order_id: int) -> str:
    """A sync body runs in a thread of the worker, where the ORM is at home."""
    order = Order.objects.get(pk=order_id)
    order.status = "reserved"
    order.save()
    return order.sku


async def ship(order_id: int) -> None:
    """An async body uses the ORM's async methods."""
    await Order.objects.filter(pk=order_id).aupdate(status="shipped")


@flow.define_workflow("fulfil-order")
async def fulfil_order(order_id: int, step: Step) -> str:
    sku = await step.run("reserve", reserve, order_id)
    await step.sleep("pack it", "2s")  # or "3d": a sleeping run holds no worker
    await step.run("ship", ship, order_id)
    return f"one {sku} for order {order_id}"
