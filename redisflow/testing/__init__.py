"""What tests need: workflows without a server, crashes on purpose, a clock that skips, a real server that goes.

What it offers stands in `redisflow.testing.public`, which is imported at the first use of a name: `redisflow dev`
starts a server, and needs nothing else of it.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redisflow.testing.public import *  # noqa: F403  # the one list of names is there
    from redisflow.testing.public import __all__ as __all__


def __getattr__(name: str) -> Any:
    """Import the public names when the first of them is asked for."""
    # `from redisflow.testing import server` asks here first, and then imports the module.
    if name == "__all__" or not (name.startswith("_") or find_spec(f"redisflow.testing.{name}")):
        from redisflow.testing import public  # noqa: PLC0415  # at the first use, as the module says

        globals().update({each: getattr(public, each) for each in public.__all__}, __all__=public.__all__)
        if name in globals():
            return globals()[name]
    msg = f"module 'redisflow.testing' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    """The public names."""
    from redisflow.testing import public  # noqa: PLC0415  # as above

    return sorted({*globals(), *public.__all__})
