"""`redisflow completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import sys
from typing import Literal

from redisflow.cli import app


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print the completions of a shell: `source <(redisflow completion bash)`, say, in ~/.bashrc."""
    sys.stdout.write(app.make_app().generate_completion(shell=shell))
