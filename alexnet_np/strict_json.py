"""JSON that every program can read."""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any


def dumps(value: Any, indent: int | None = None) -> str:
    """As json.dumps has it, but NaN and infinity, which JSON does not know, are null: there is no such figure."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inside) for key, inside in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inside) for inside in value]
    return None if isinstance(value, float) and not isfinite(value) else value
