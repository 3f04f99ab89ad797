"""The names of a network's classes: its own, those of a file, or ImageNet's."""

import argparse
from importlib.resources import files
from pathlib import Path
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


def given_names(trained: "Trained", path: str) -> list[str]:
    """The lines of a text file. ValueError where they cannot be the names of the network's classes."""
    try:
        names = Path(path).read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"--classes: expected text in UTF-8 in {path} ({error})") from error
    expected = trained.net.num_classes
    if len(names) != expected:
        raise ValueError(f"--classes: expected {expected} lines, one for each class, got {len(names)}")
    if trained.classes and names != trained.classes and sorted(names) == sorted(trained.classes):
        first = next(line for line, name in enumerate(names) if name != trained.classes[line])
        raise ValueError(
            f"--classes: expected the order that the network has, got another one: line {first + 1} of {path} is "
            f"{names[first]!r}, its class {trained.classes[first]!r}. Leave out --classes: the weights name them"
        )
    return names


def imagenet_names() -> list[str]:
    return files("alexnet_np").joinpath(IMAGENET_CLASSES).read_text("utf-8").splitlines()
