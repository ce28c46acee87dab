"""Typed payloads: inputs, step results and outputs come back as what their annotations say.

`typed.py` holds the type of a payload, `annotations.py` finds it on a function, `lowering.py` takes values apart for
the codec, and `fidelity.py` knows which types are certain to come back and looks at what the others came back as.
"""

from __future__ import annotations

from redisflow.payload.annotations import input_annotation, return_annotation
from redisflow.payload.typed import PayloadType

__all__ = ["PayloadType", "input_annotation", "return_annotation"]
