"""Which `redisflow dev` has the server of a folder: it holds a lock there, on a file that says where the server is.

The lock ends with its process, however that ended, so what the file says is believed only while it is held. And only
where it is this user's own: in a folder that others may write to, one of them could name a server of theirs.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER = ".redisflow"
FILE = "dev.lock"


@dataclass(frozen=True, slots=True)
class Running:
    """What it says of itself."""

    pid: int
    url: str
    dashboard: str | None = None


def find_running(folder: Path) -> Running | None:
    """The one of this folder, or of the nearest above that has one."""
    for place in (folder, *folder.parents):
        path = place / FOLDER / FILE
        if path.is_file() and (found := read_running(path)) is not None:
            return found
    return None


def read_running(path: Path) -> Running | None:
    """None where nobody holds it, or has not said yet where its server is."""
    try:
        with path.open(encoding="utf-8") as file:
            is_own = path.parent.lstat().st_uid == os.fstat(file.fileno()).st_uid == os.geteuid()
            if not (is_own and _is_held(file.fileno())):
                return None
            return Running(**json.loads(file.read()))
    except (OSError, ValueError, TypeError):
        return None


def is_held(path: Path) -> bool:
    """Whether somebody has it."""
    try:
        with path.open(encoding="utf-8") as file:
            return _is_held(file.fileno())
    except OSError:
        return False


def _is_held(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


class Claim:
    """Of a folder, by this process."""

    def __init__(self, descriptor: int) -> None:
        """Made by `claim`."""
        self._descriptor = descriptor

    def say(self, running: Running) -> None:
        """Where the server is."""
        text = json.dumps(asdict(running)).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text, 0)

    def release(self) -> None:
        """Another may have it."""
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def claim(folder: Path) -> Claim | None:
    """Make this process the one; None where another is. The file is readable by its owner alone.

    OSError where the folder for it, or the file, is a link or somebody else's.
    """
    home = folder / FOLDER
    home.mkdir(mode=0o700, exist_ok=True)
    _refuse_others(home)
    ignore = home / ".gitignore"
    with suppress(FileExistsError), ignore.open("x", encoding="utf-8") as file:
        file.write("# The data of `redisflow dev`\n*\n")
    descriptor = os.open(home / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return Claim(descriptor)


def _refuse_others(home: Path) -> None:
    """Where somebody else has made it, what is written there would go where they want it."""
    found = home.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        why = "is a link or a file" if found.st_uid == os.geteuid() else "belongs to somebody else"
        raise OSError(errno.EPERM, f"it {why}: move it away, `redisflow dev` makes its own", str(home))
