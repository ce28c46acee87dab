"""Why a run that is stored cannot be read here, in a few words: it must not hide those beside which it is shown."""

from __future__ import annotations

from typing import Final

from redisflow.errors import CannotDecode, CannotUnseal, PayloadStoreUnavailable, RunDamaged

UNREADABLE: Final = (CannotDecode, PayloadStoreUnavailable)
"""What reading such a run raises. Where Redis itself is away, no run can be read, and that is another error."""


def why_unreadable(error: CannotDecode | PayloadStoreUnavailable) -> str:
    """In a few words; the error's own are of one payload, and may be long."""
    if isinstance(error, RunDamaged):
        return "its key is damaged, `redisflow audit` says where"
    if isinstance(error, CannotUnseal):
        return "its payloads do not open here"
    if isinstance(error, PayloadStoreUnavailable):
        return "the store of its payloads is away"
    return "what is stored is sealed, damaged or of a later version"
