"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Status: TypeAlias = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `fix` is what to do where it is not ok."""

    group: str
    name: str
    status: Status
    says: str
    fix: str | None = None

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "id": f"{self.group}: {self.name}",
            "group": self.group,
            "name": self.name,
            "status": self.status,
            "says": self.says,
            "fix": self.fix,
        }
