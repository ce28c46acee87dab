"""A mutant: the project with one safeguard taken out, which the checkers must notice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Edit:
    """Text that stands once in a file, and what stands there instead."""

    file: str
    old: str
    new: str

    def apply(self, root: Path) -> None:
        """ValueError where the text does not stand there once: the code has changed, and the mutant must follow."""
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        if (found := text.count(self.old)) != 1:
            msg = f"{self.file} has {self.old!r} {found} times"
            raise ValueError(msg)
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One safeguard less. `breaks` names what rests on it: an invariant, or a row, of docs/reliability.md."""

    name: str
    breaks: str
    edits: tuple[Edit, ...]

    def apply(self, root: Path) -> None:
        """Change a copy of the project."""
        for edit in self.edits:
            edit.apply(root)


def mutant(name: str, breaks: str, file: str, *changes: tuple[str, str]) -> Mutant:
    """With all of its changes in one file."""
    return Mutant(name, breaks, tuple(Edit(file, old, new) for old, new in changes))
