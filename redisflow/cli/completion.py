"""`redisflow completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

from typing import Literal

from redisflow.cli import app
from redisflow.cli.output import write_line


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print the completions of a shell: `source <(redisflow completion bash)`, say, in ~/.bashrc."""
    write_line(app.make_app().generate_completion(shell=shell).rstrip("\n"))
