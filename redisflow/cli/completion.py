"""`redisflow completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from redisflow.cli import app
from redisflow.cli.output import write_line


def completion(shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="for which")], /) -> None:
    """Print the completions of a shell: `source <(redisflow completion bash)`, say, in ~/.bashrc."""
    write_line(app.make_app().generate_completion(shell=shell).rstrip("\n"))
