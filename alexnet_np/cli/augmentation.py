"""The settings of augmentation, which ``train`` and ``augment`` share."""

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..augmentations import AUGMENTATIONS, CROPS
from .common import amount, flag

if TYPE_CHECKING:
    from ..data import Data, Preparation

COLOURS = ("imagenet", "data")
SAMPLE = 1000  # pictures that tell the data's principal colours
STRENGTHS: dict[str, str] = {
    "brightness": "of 0.4 makes it up to 0.4 darker or brighter",
    "contrast": "likewise",
    "saturation": "likewise",
    "hue": "turned by up to this part of the colour circle, at most 0.5",
    "colour_noise": "the paper's, 0.1 there: a colour added along the principal ones",
}


def add_augmentation(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("augmentation", "Of training pictures. What is given beside --augment, wins.")
    group.add_argument(
        "--augment",
        choices=AUGMENTATIONS,
        default="crop",
        help="crop: a square anywhere, photographs mirrored half of the time; paper: and colour noise, as in 2012; "
        "modern: random resized crops and jittered colours; none (default: %(default)s)",
    )
    group.add_argument("--crop", choices=CROPS, help="a square anywhere, a resized rectangle, or the test's square")
    group.add_argument(
        "--mirror", action=argparse.BooleanOptionalAction, help="half of the pictures (default: photographs only)"
    )
    for name, text in STRENGTHS.items():
        group.add_argument(flag(name), type=amount, metavar="S", help=text)
    group.add_argument(
        "--colours",
        choices=COLOURS,
        default="imagenet",
        help="the principal colours of --colour-noise: ImageNet's, or computed from the data (default: %(default)s)",
    )
    group.add_argument(
        "--mean-image",
        metavar="FILE",
        help="a .npy file, as augment --write-mean-image writes it, to subtract instead of the mean colour",
    )


def settings_given(args: argparse.Namespace) -> list[str]:
    """The settings of augmentation that are not the defaults."""
    none: dict[str, Any] = dict.fromkeys(("crop", "mirror", "mean_image", *STRENGTHS))
    defaults = {"augment": "crop", "colours": "imagenet"} | none
    return [name for name, default in defaults.items() if getattr(args, name) != default]


def augmented(args: argparse.Namespace, data: "Data", size: int | None) -> "Preparation":
    """How the data's pictures are prepared by these settings, in squares of ``size``. ValueError or OSError."""
    import numpy as np

    from ..data import augmentation
    from ..data.dataset import some

    settings: dict[str, Any] = {name: getattr(args, name) for name in ("crop", "mirror", "mean_image", *STRENGTHS)}
    given = {name: value for name, value in settings.items() if value is not None}
    preparation = replace(data.preparation(size).augmented(args.augment), **given)
    if args.colours == "data":
        if not preparation.colour_noise:
            raise ValueError("--colours data: expected --colour-noise or --augment paper with it")
        colours = augmentation.principal_colours(some(data.train, SAMPLE, augmentation.colour_moments))
        preparation = replace(preparation, principal_colours=colours)
    preparation.normalise(np.zeros((preparation.size, preparation.size, 3), np.uint8))  # a mean image that does not fit
    return preparation
