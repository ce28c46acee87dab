"""The workflows of this project. `redisflow dev` runs them, and takes up each change of this file."""

from redisflow import RedisFlow, Step

flow = RedisFlow()  # where Redis is says $REDISFLOW_URL, which `redisflow dev` sets


async def look_up(name: str) -> str:
    """What touches the world is a step: it is recorded, and never runs again once it is."""
    return name.title()


@flow.define_workflow("greet")
async def greet(name: str, step: Step) -> str:
    full_name = await step.run("look up", look_up, name)
    await step.sleep("think about it", "2s")  # or "3d": a sleeping run holds no worker
    return f"Hello, {full_name}!"
