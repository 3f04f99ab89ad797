"""Keras on its torch backend: the choice is read from the environment, once, as it is imported."""

import os
from types import ModuleType
from typing import Any


def import_keras() -> ModuleType:
    """The keras package."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    return keras


def keras_alexnet(num_classes: int, dtype: str) -> Any:
    """The network as it stands in countless notebooks."""
    keras = import_keras()
    layers = keras.layers
    typed = {"dtype": dtype}
    relu = {"activation": "relu", **typed}
    return keras.Sequential(
        [
            keras.Input((227, 227, 3), **typed),
            layers.Conv2D(64, 11, strides=4, **relu),
            layers.MaxPooling2D(3, 2, **typed),
            layers.Conv2D(192, 5, padding="same", **relu),
            layers.MaxPooling2D(3, 2, **typed),
            layers.Conv2D(384, 3, padding="same", **relu),
            layers.Conv2D(256, 3, padding="same", **relu),
            layers.Conv2D(256, 3, padding="same", **relu),
            layers.MaxPooling2D(3, 2, **typed),
            layers.Flatten(**typed),
            layers.Dropout(0.5, **typed),
            layers.Dense(4096, **relu),
            layers.Dropout(0.5, **typed),
            layers.Dense(4096, **relu),
            layers.Dropout(0.5, **typed),
            layers.Dense(num_classes, activation="softmax", **typed),
        ]
    )
