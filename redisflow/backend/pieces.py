"""What is long is put aside in pieces, each of which a call can carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

KEEP_STAGED_MS = 3_600_000
# A piece: below 5 ms of the server's time.
_PIECE_PARTS = 500
_PIECE_BYTES = 256 * 1024


def pieces_of(parts: Iterable[tuple[Any, ...]]) -> Iterator[list[Any]]:
    """The parts one after the other, each of several words, in pieces that end with a part."""
    piece: list[Any] = []
    count = size = 0
    for part in parts:
        piece += part
        count += 1
        size += sum(len(word) for word in part if isinstance(word, (bytes, str)))
        if count == _PIECE_PARTS or size > _PIECE_BYTES:
            yield piece
            piece, count, size = [], 0, 0
    if piece:
        yield piece
