"""Durable workflows on the Redis that you already run.

What it offers stands in `redisflow.public`, which is imported at the first use of a name: commands that need little of
it (`redisflow run list`) start in half the time.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redisflow.public import *  # noqa: F403  # the one list of names is there
    from redisflow.public import __all__ as __all__

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import the public names when the first of them is asked for."""
    # `from redisflow import codec` asks here first, and then imports the module.
    if name == "__all__" or not (name.startswith("_") or find_spec(f"redisflow.{name}")):
        from redisflow import public  # noqa: PLC0415  # at the first use, as the module says

        globals().update({each: getattr(public, each) for each in public.__all__}, __all__=public.__all__)
        if name in globals():
            return globals()[name]
    msg = f"module 'redisflow' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    """The public names."""
    from redisflow import public  # noqa: PLC0415  # as above

    return sorted({*globals(), *public.__all__})
