"""Which columns of a table a terminal has room for, and how wide each is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len

if TYPE_CHECKING:
    from redisflow.cli.output import Column

GAP = 2
"""Between two columns."""
SHORTEST = 6
"""What is left of a long text tells as much: `custo…`."""


def fit_columns(columns: Sequence[Column], texts: Sequence[Sequence[str]], room: int) -> dict[int, int]:
    """The width of each column that is shown, by its place; `texts` are those of each column.

    Columns that may shrink do so first, the widest most. Where that is not enough, columns go: the sparest first, of
    those the last. The first one stays.
    """
    whole = [max(map(cell_len, [column.title, *each])) for column, each in zip(columns, texts, strict=True)]
    least = [
        min(wide, max(len(column.title), SHORTEST)) if column.may_shrink else wide
        for column, wide in zip(columns, whole, strict=True)
    ]
    shown = list(range(len(columns)))
    while len(shown) > 1 and _needed(least, shown) > room:
        shown.remove(max(shown[1:], key=lambda at: (columns[at].spare, at)))
    widths = {at: least[at] for at in shown}
    for _ in range(room - _needed(least, shown)):
        short = [at for at in shown if widths[at] < whole[at]]
        if not short:
            break
        widths[min(short, key=lambda at: widths[at])] += 1
    return widths


def _needed(least: Sequence[int], shown: Sequence[int]) -> int:
    return sum(least[at] for at in shown) + GAP * (len(shown) - 1)
