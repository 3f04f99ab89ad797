"""Look at what augmentation makes of a picture, or write the mean image of a data set.

--preview draws a sheet: a training picture, and a row of versions for each kind of change, with its strength; the
last row is what training sees. --write-mean-image is for train --mean-image: the mean of all training
pictures, pixel by pixel, as the 2012 network subtracts it.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from . import telling
from .augmentation import add_augmentation, augmented, settings_given
from .common import UserError, add_download, count, fetch, flag, natural, sentences

if TYPE_CHECKING:
    import numpy as np

    from ..data import Preparation


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preview", type=Path, metavar="PNG", help="draw a sheet of versions of a picture")
    parser.add_argument("--write-mean-image", type=Path, metavar="NPY", help="compute the mean image and write it")
    parser.add_argument("--data", metavar="FOLDER", default="digits", help="as train has it (default: %(default)s)")
    add_download(parser)
    parser.add_argument("--size", type=count, metavar="PIXELS", help="of a side, as train has it")
    parser.add_argument("--picture", type=natural, metavar="N", help="of the training set (default: 0)")
    parser.add_argument("--seed", type=natural, metavar="N", help="of what is random (default: 0)")
    add_augmentation(parser)


def run(args: argparse.Namespace) -> int:
    import numpy as np
    from tqdm import tqdm

    from .. import data
    from ..data.augmentation import mean_image
    from ..data.dataset import readable
    from ..data.geometry import centre_crop, resize
    from ..files import written_whole

    if args.preview is None and args.write_mean_image is None:
        raise UserError("expected --preview PNG or --write-mean-image NPY")
    for_preview = settings_given(args) + [name for name in ("picture", "seed") if getattr(args, name) is not None]
    if args.preview is None and for_preview:
        flags = ", ".join(map(flag, for_preview))
        raise UserError(f"{flags}: expected --preview too: the mean image is that of all images, not augmented")
    number, seed = args.picture or 0, args.seed or 0
    with sentences():
        fetch(args)
        loaded = data.load(args.data)
        for line in telling.about(loaded):
            print(line, file=sys.stderr)
        preparation = augmented(args, loaded, args.size)
        if args.preview is not None:
            if number >= len(loaded.train):
                raise UserError(f"--picture: expected 0 to {len(loaded.train) - 1}, got {number}")
            picture = loaded.train.image(number)
            try:
                preparation.for_testing(picture)
            except ValueError as error:
                raise UserError(f"{loaded.train.where(number)}: {error}") from error
        if args.write_mean_image is not None:
            side = preparation.resize
            total = len(loaded.train)
            squares = readable(loaded.train, np.arange(total), lambda image: centre_crop(resize(image, side), side))
            numbered = enumerate(tqdm(squares, "mean image", total=total, leave=False, disable=None), 1)
            used = [0]
            mean = mean_image(square for used[0], square in numbered)
            if skipped := total - used[0]:
                print(f"skipped: {skipped:,} of {total:,} images, as in training (alexnet-np check-data lists them)")
            with written_whole(args.write_mean_image) as unfinished, unfinished.open("wb") as file:
                np.save(file, mean)
            colour = mean.mean(axis=(0, 1), dtype=np.float64).round(1).tolist()
            print(f"{args.write_mean_image}: {side}x{side}, mean colour {colour}")
        if args.preview is not None:
            label = loaded.train.classes[loaded.train.labels[number]]
            title = f"{loaded.name}, {label}: augmentation {args.augment!r}"
            _draw(args.preview, picture, preparation, title, seed)
            print(args.preview)
    return 0


def _draw(path: Path, picture: "np.ndarray", preparation: "Preparation", title: str, seed: int) -> None:
    """Draw the sheet. UserError where that fails, whatever matplotlib says."""
    try:
        from ..data.contact_sheet import contact_sheet

        contact_sheet(path, picture, preparation, title, seed)
    except ImportError as error:
        raise UserError(f"the sheet is drawn with matplotlib (pip install 'alexnet-np[demo]'): {error}") from error
    except Exception as error:
        raise UserError(f"{path} could not be drawn ({error})") from error
