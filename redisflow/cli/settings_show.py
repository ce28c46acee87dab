"""`redisflow config show`: each setting, and where it was said."""

from __future__ import annotations

from redisflow.backend.connect import read_url
from redisflow.cli.given import PLAIN, Given, with_own_place
from redisflow.cli.output import Column, note
from redisflow.errors import RedisflowError


def show(*, given: Given = PLAIN) -> None:
    """Show each setting and where its value comes from. Passwords in URLs are not shown.

    What nobody has said about the place is what the app has; where that cannot be known, standard error says why.
    """
    settings = given.settings()
    if given.asks_the_app(settings):
        try:
            settings = with_own_place(settings, given.flow())
        except (RedisflowError, ValueError) as error:
            note(str(error))
    found = [
        {
            "id": name,
            "value": read_url(setting.value).masked if name == "url" and setting.value else setting.value,
            "source": setting.source,
        }
        for name, setting in settings.items()
    ]
    columns = (
        Column("NAME", lambda row: row["id"]),
        Column("VALUE", lambda row: row["value"] or "-", may_shrink=True),
        Column("FROM", lambda row: row["source"], may_shrink=True),
    )
    given.out.rows(columns, found)
