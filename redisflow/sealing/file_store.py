"""Large payloads as files, in a folder that all clients and workers share.

A file appears under its name when all of it is on the disk, and never changes: what Redis refers to is there, after a
power cut too. File system calls run in threads.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from pathlib import Path

PAGE = 1000
_PARTIAL = ".partial-"


class FileStore:
    """Files under `path`, which is made where it is missing; readable for this user alone."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """`path` is a folder that every client and worker of the namespace sees."""
        self._root = Path(path)

    def __repr__(self) -> str:
        """Where it is."""
        return f"FileStore({str(self._root)!r})"

    async def check(self) -> None:
        """OSError where no file can be written there."""
        await asyncio.to_thread(self._check)

    async def put(self, folder: str, run_id: str, name: str, data: bytes) -> None:
        """Write it, and wait for the disk."""
        await asyncio.to_thread(_write, self._root / folder / run_id, name, data)

    async def get(self, folder: str, run_id: str, name: str, size: int) -> bytes | None:
        """Read it; None where it is not there."""
        return await asyncio.to_thread(_read, self._root / folder / run_id / name, size)

    async def delete_run(self, folder: str, run_id: str) -> None:
        """Delete the folder of a run."""
        await asyncio.to_thread(_remove, self._root / folder / run_id)

    async def list_runs(self, folder: str) -> AsyncIterator[Sequence[str]]:
        """The names of the folders of runs."""
        names = _folders(self._root / folder)
        while page := await asyncio.to_thread(lambda: list(islice(names, PAGE))):
            yield page

    def _check(self) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = self._root / f"{_PARTIAL}{secrets.token_hex(8)}"
        probe.touch(mode=0o600)
        probe.unlink()


def _write(run: Path, name: str, data: bytes) -> None:
    target = run / name
    if target.exists():  # a name stands for its content
        return
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = run / f"{_PARTIAL}{secrets.token_hex(8)}"
    try:
        with open(partial, "xb", opener=_private) as file:  # Path.open takes no opener
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    # The names on the way to it must survive as well.
    for directory in (run, run.parent, run.parent.parent):
        _sync(directory)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync(directory: Path) -> None:
    if os.name == "nt":  # there a folder cannot be opened
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path, size: int) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(size + 1)
    except FileNotFoundError:
        return None


def _remove(run: Path) -> None:
    try:
        shutil.rmtree(run)
    except FileNotFoundError:
        # It is not there, or somebody else deletes it at the same time: then what is left is theirs, or found again.
        return


def _folders(path: Path) -> Iterator[str]:
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield entry.name
    except FileNotFoundError:
        return
