"""`redisflow config show`: each setting, and where it was said."""

from __future__ import annotations

from redisflow.backend.connect import read_url
from redisflow.cli.given import PLAIN, Given
from redisflow.cli.output import Column


def show(*, given: Given = PLAIN) -> None:
    """Show each setting and where its value comes from. Passwords in URLs are not shown."""
    found = [
        {
            "id": name,
            "value": read_url(setting.value).masked if name == "url" and setting.value else setting.value,
            "source": setting.source,
        }
        for name, setting in given.settings().items()
    ]
    columns = (
        Column("NAME", lambda row: row["id"]),
        Column("VALUE", lambda row: row["value"] or "-"),
        Column("FROM", lambda row: row["source"]),
    )
    given.out.rows(columns, found)
