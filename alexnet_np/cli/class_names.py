"""The names of a network's classes: its own, those of a file, or ImageNet's."""

import argparse
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..runs import Trained

# Written by: python -c "from torchvision.models import AlexNet_Weights as w; \
#                        print(*w.IMAGENET1K_V1.meta['categories'], sep='\n')"
IMAGENET_CLASSES = "imagenet_classes.txt"


def add_classes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--classes",
        metavar="FILE",
        help="a text file with the name of a class in each line, in the order of the network's outputs "
        "(default: what the run or the file says)",
    )


def known_names(trained: "Trained", file: str | None) -> tuple[list[str] | None, str | None]:
    """The names in a file, the network's own, or ImageNet's for 1000 classes; and what of them is assumed, in words.

    None where nobody says them. Errors: see given_names.
    """
    if file is not None:
        return given_names(trained, file), None
    if trained.classes is None and trained.net.num_classes == 1000:
        return imagenet_names(), "ImageNet's names, in torchvision's order"
    return trained.classes, None


def given_names(trained: "Trained", path: str) -> list[str]:
    """The lines of a text file. ValueError where they cannot be the names of the network's classes."""
    from ..data import dataset
    from ..data.classes import folded

    try:
        names = dataset.read_names(path)
    except dataset.DataError as error:
        raise ValueError(f"--classes: {error}") from error
    expected = trained.net.num_classes
    if len(names) != expected:
        raise ValueError(f"--classes: expected {expected} lines, one for each class, got {len(names)}")
    own = [folded(name) for name in trained.classes or []]
    places = {name: number for number, name in enumerate(own)}
    for number, name in enumerate(names):
        place = places.get(folded(name))
        if trained.classes and place is not None and own[number] != own[place]:
            raise ValueError(
                f"--classes: expected the order that the network has, got another one: line {number + 1} of {path} is "
                f"{name!r:.200}, its class {trained.classes[number]!r:.200}. Leave out --classes: the weights name them"
            )
    # Of ImageNet's 1000 names two stand for two classes each: crane and maillot.
    if (twice := dataset.repeated(names)) and not (trained.classes is None and expected == 1000):
        raise ValueError(f"--classes: expected different names in {path}, got {twice!r:.200} more than once")
    return names


def imagenet_names() -> list[str]:
    return files("alexnet_np").joinpath(IMAGENET_CLASSES).read_text("utf-8").splitlines()
