"""`pytest`: without a server, and with a real one whose clock the test moves. Neither needs the database."""

import pytest

from redisflow import NonRetryableError, WorkflowFailed
from redisflow.testing import run_inline
from shop.workflows import fulfil_order

pytestmark = pytest.mark.anyio


async def test_an_order_is_reserved_and_shipped() -> None:
    run = await run_inline(fulfil_order, 1, steps={"reserve": "cup", "ship": None})
    assert run.result() == "one cup for order 1"


async def test_what_cannot_be_reserved_is_not_shipped() -> None:
    run = await run_inline(fulfil_order, 1, steps={"reserve": NonRetryableError("sold out")})
    assert run.step("ship") is None
    with pytest.raises(WorkflowFailed, match="sold out"):
        run.result()
