"""What `redisflow dev` takes, and what is needed for it."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from redisflow.cli.dashboard import PORT
from redisflow.cli.discovery import HOW, guess_target
from redisflow.cli.exits import BadTarget
from redisflow.cli.settings import DEV, read_settings

NEEDED = ("watchfiles", "uvicorn", "starlette")


async def dev(  # each is a flag
    app: Annotated[
        str | None, Parameter(help="MODULE:NAME of a RedisFlow object; else that of the settings, or of workflows.py")
    ] = None,
    /,
    *,
    url: Annotated[
        str | None, Parameter(help="of a Redis that runs already; else REDISFLOW_URL, else a server of this folder")
    ] = None,
    port: Annotated[int, Parameter(help="of the dashboard")] = PORT,
    ephemeral: Annotated[bool, Parameter(negative=(), help="keep nothing: the data are gone at the end")] = False,
    headless: Annotated[bool, Parameter(negative=(), help="without the dashboard")] = False,
    no_reload: Annotated[bool, Parameter(negative=(), help="do not take up changes")] = False,
    no_open: Annotated[bool, Parameter(negative=(), help="do not open a browser")] = False,
) -> int:
    """Run everything here: a server whose data stay in .redisflow, a worker that takes up changes, the dashboard."""
    if sys.platform == "win32":
        msg = "`redisflow dev` needs Linux or macOS: on Windows it runs in WSL"
        raise ValueError(msg)
    missing = [name for name in NEEDED if find_spec(name) is None and not (headless and name != "watchfiles")]
    if missing:
        msg = f"`redisflow dev` needs {', '.join(missing)}: pip install 'redisflow[dev]'"
        raise ValueError(msg)
    from redisflow.cli.dev.log import DevLog  # noqa: PLC0415  # not on Windows
    from redisflow.cli.dev.session import DevOptions, Session  # noqa: PLC0415  # the same

    folder = Path.cwd()
    settings = read_settings({"url": url, "app": app})
    target = settings["app"].value or guess_target(folder)
    if target is None:
        msg = f"there is no app here, nor a workflows.py: {HOW}. `redisflow init` writes a project to begin with"
        raise BadTarget(msg)
    is_named = settings["url"].source not in ("default", DEV)
    if ephemeral and is_named:
        msg = f"--ephemeral is about a server of this folder, and {settings['url'].source} names another"
        raise ValueError(msg)
    log = DevLog()
    options = DevOptions(
        target=target,
        url=settings["url"] if is_named else None,
        port=port,
        headless=headless,
        reload=not no_reload,
        ephemeral=ephemeral,
        opens=log.is_terminal and not no_open,
    )
    return await Session(options, log, folder).run()
