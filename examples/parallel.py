"""Parallel steps: three things fetched at once; validate, then three at once, then confirm; many with a limit.

Each branch is memoized on its own: after a crash in the middle, what was recorded answers at once.
"""

import asyncio
import os

from pydantic import BaseModel

from redisflow import RedisFlow, Step

flow = RedisFlow(os.environ.get("REDISFLOW_URL", "memory://"), namespace="parallel")


class Dashboard(BaseModel):
    user: str
    orders: list[str]
    unread: int


async def fetch_user(user_id: str) -> str:
    await asyncio.sleep(0.05)
    return f"user {user_id}"


async def fetch_orders(user_id: str) -> list[str]:
    await asyncio.sleep(0.05)
    return [f"{user_id}-order-1", f"{user_id}-order-2"]


async def count_unread(user_id: str) -> int:
    await asyncio.sleep(0.05)
    return len(user_id)


@flow.define_workflow("build-dashboard")
async def build_dashboard(user_id: str, step: Step) -> Dashboard:
    """Fetch three things in parallel."""
    user, orders, unread = await asyncio.gather(
        step.run("fetch-user", fetch_user, user_id),
        step.run("fetch-orders", fetch_orders, user_id),
        step.run("count-unread", count_unread, user_id),
    )
    return Dashboard(user=user, orders=orders, unread=unread)


class Booking(BaseModel):
    trip: str
    days: int


async def validate(booking: Booking) -> int:
    if booking.days < 1:
        msg = f"a trip of {booking.days} days"
        raise ValueError(msg)
    return booking.days


async def book(what: str, trip: str, days: int) -> str:
    await asyncio.sleep(0.05)
    return f"{what} for {days} days in {trip}"


async def confirm(trip: str, parts: list[str]) -> str:
    return f"{trip}: {', '.join(parts)}"


@flow.define_workflow("book-trip")
async def book_trip(booking: Booking, step: Step) -> str:
    """Validate, then three bookings in parallel, then confirm."""
    days = await step.run("validate", validate, booking)
    async with asyncio.TaskGroup() as group:
        flight = group.create_task(step.run("book-flight", book, "flight", booking.trip, days))
        hotel = group.create_task(step.run("book-hotel", book, "hotel", booking.trip, days))
        car = group.create_task(step.run("book-car", book, "car", booking.trip, days))
    return await step.run("confirm", confirm, booking.trip, [flight.result(), hotel.result(), car.result()])


async def shrink(picture: str) -> str:
    await asyncio.sleep(0.01)
    return picture.replace(".png", ".webp")


@flow.define_workflow("shrink-pictures")
async def shrink_pictures(pictures: list[str], step: Step) -> list[str]:
    """One step for each item, five at a time."""
    return await step.map("shrink", shrink, pictures, limit=5)


async def main() -> None:
    async with flow, flow.new_worker():
        dashboard = await build_dashboard.run("ada")
        print(await dashboard.result(timeout="1m"))
        trip = await book_trip.run(Booking(trip="Oslo", days=3))
        print(await trip.result(timeout="1m"))
        pictures = await shrink_pictures.run([f"{number}.png" for number in range(20)])
        print(f"{len(await pictures.result(timeout='1m'))} pictures shrunk")


if __name__ == "__main__":
    asyncio.run(main())
