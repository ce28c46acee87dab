"""Python tracebacks as frames: the user's own stand out, those of libraries are folded away."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_FRAME: Final = re.compile(r'  File "(?P<path>.+)", line (?P<line>\d+)(?:, in (?P<name>.*))?')
_FOREIGN: Final = re.compile(r"[/\\](site-packages|dist-packages|lib[/\\]python3\.\d+|redisflow)[/\\]|^<")
MOST_FRAMES = 200


@dataclass(slots=True)
class Frame:
    """A call, or a line that stands between calls."""

    path: str
    line: str
    name: str
    code: list[str] = field(default_factory=list[str])
    is_own: bool = True

    @property
    def place(self) -> str:
        """For an editor: `file:line`."""
        return f"{self.path}:{self.line}"


@dataclass(slots=True)
class Group:
    """Frames that follow each other; of libraries, so folded, or not."""

    frames: list[Frame]
    is_folded: bool


@dataclass(slots=True)
class Traceback:
    """What could be read of it."""

    parts: list[Group | str]
    """Texts are what stands before, between and after the frames: causes, notes, the error itself."""


def read_traceback(text: str) -> Traceback:
    """From text as Python prints it; what is not understood stays text."""
    parts: list[Group | str] = []
    for each in _lines(text):
        if isinstance(each, str):
            if parts and isinstance(parts[-1], str):
                parts[-1] += "\n" + each
            else:
                parts.append(each)
            continue
        last = parts[-1] if parts else None
        if isinstance(last, Group) and last.is_folded is not each.is_own:
            last.frames.append(each)
        else:
            parts.append(Group([each], is_folded=not each.is_own))
    return Traceback([part for part in parts if not isinstance(part, str) or part.strip()])


def _lines(text: str) -> Iterator[Frame | str]:
    frame: Frame | None = None
    frames = 0
    for line in text.splitlines():
        found = _FRAME.match(line) if frames < MOST_FRAMES else None
        if found:
            if frame:
                yield frame
            frames += 1
            path = found["path"]
            frame = Frame(path, found["line"], found["name"] or "", is_own=_FOREIGN.search(path) is None)
        elif frame and line.startswith("    "):
            if line.strip(" ^~"):
                frame.code.append(line[4:])
        else:
            if frame:
                yield frame
                frame = None
            yield line
    if frame:
        yield frame
