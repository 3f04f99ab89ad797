"""Which library an array belongs to, so that one text serves NumPy and CuPy."""

import sys
from types import ModuleType
from typing import Any

import numpy as np


def array_module(x: Any) -> ModuleType:
    """numpy, or cupy where x is a CuPy array. CuPy is never imported for the question."""
    return sys.modules["cupy"] if type(x).__module__.partition(".")[0] == "cupy" else np
