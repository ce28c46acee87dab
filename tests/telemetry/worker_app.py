"""A flow for worker processes of the tests of telemetry."""

from __future__ import annotations

import logging
import os

from redisflow import RedisFlow, Step

flow = RedisFlow(namespace=os.environ.get("TELEMETRY_NAMESPACE", "telemetry"))
log = logging.getLogger("shop")


async def charge(cents: int) -> int:
    log.info("charging %d", cents)
    return cents


def send(text: str) -> str:
    log.warning("sent\n%s", text)
    return text


@flow.define_workflow("order")
async def order(cents: int, step: Step) -> int:
    log.info("an order")
    await step.run("charge", charge, cents)
    await step.run("send", send, "two lines")
    return os.getpid()
