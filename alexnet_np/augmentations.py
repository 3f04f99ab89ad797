"""What a training picture may go through, by name: the command line offers it, data/preparation.py does it.

It stands here because ``data`` imports Pillow, and the command line starts without.
"""

from typing import Any

CROPS = ("random", "resized", "centre")

# Fields of a Preparation; the others keep their values.
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "none": {"crop": "centre", "mirror": False},
    "crop": {"crop": "random"},
    "paper": {"crop": "random", "colour_noise": 0.1},
    "modern": {"crop": "resized", "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
}
