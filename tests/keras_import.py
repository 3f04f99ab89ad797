"""Import Keras on its torch backend: the choice is read from the environment, once, as it is imported."""

import os
from types import ModuleType


def import_keras() -> ModuleType:
    """The keras package."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    return keras
