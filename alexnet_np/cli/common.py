"""What several commands share: arguments, and errors as sentences."""

import argparse
import errno
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from .. import strict_json
from ..backend import DEVICES, DeviceError, threads_problem

if TYPE_CHECKING:
    from ..runs import Trained

MODELS = ("alexnet", "alexnet_keras", "alexnet_2012")
VARIANTS = ("paper", "code")


class UserError(Exception):
    """Something that the user can mend, in a sentence."""


OF_INPUT = (ArithmeticError, DeviceError, KeyError, MemoryError, ModuleNotFoundError, OSError, ValueError)


@contextmanager
def sentences(*kinds: type[Exception]) -> Iterator[None]:
    """Errors that the user can mend are said in a sentence, without a traceback.

    Around what reads the user's input these are whatever a function may raise that is given something wrong. Around
    what goes on to compute, ``kinds`` says which: others are errors of this program, and show where.
    """
    kinds = kinds or OF_INPUT
    try:
        yield
    except BrokenPipeError:  # nobody reads any more: see main
        raise
    except kinds as error:
        raise UserError(_sentence(error)) from error


def _sentence(error: Exception) -> str:
    if isinstance(error, KeyError):  # whose str is the repr of its message
        return str(error.args[0])
    return f"there is not enough memory ({error})" if lacks_memory(error) else str(error)


def lacks_memory(error: BaseException | None) -> bool:
    """Whether an error comes of a lack of memory, or of address space for libraries and threads (ulimit -v)."""
    seen: list[BaseException] = []  # an error that is raised again can be its own context
    while error is not None and error not in seen:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        if any(text in str(error) for text in ("failed to map segment", "can't start new thread")):
            return True
        seen.append(error)
        error = error.__cause__ or error.__context__
    return False


def checked_threads() -> None:
    """UserError where ALEXNET_NP_NUM_THREADS says no number of threads."""
    if problem := threads_problem():
        raise UserError(problem)


def print_json(value: Any) -> None:
    print(strict_json.dumps(value, indent=2))


def discard(stream: TextIO) -> None:
    """Print to nowhere from here on: who read this stream has gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def add_model(parser: argparse._ActionsContainer, default: str = "alexnet") -> None:
    """--model and --variant, both None where they are not given; ``default`` is what the help says of that."""
    parser.add_argument(
        "--model",
        choices=MODELS,
        help="alexnet: torchvision's; alexnet_keras: the Keras Sequential; alexnet_2012: the original with two towers "
        f"(default: {default})",
    )
    parser.add_argument(
        "--variant",
        choices=VARIANTS,
        help="variant of alexnet_2012: as the paper describes it or as its code has it (default: paper)",
    )


def add_device(parser: argparse._ActionsContainer, default: str = "cpu") -> None:
    parser.add_argument(
        "--device",
        choices=DEVICES,
        default=default,
        help="cpu: fast; gpu: with CuPy; reference: the plain array code that defines every sum (default: %(default)s)",
    )


def add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights",
        metavar="RUN_OR_FILE",
        help="a run's folder, or a file as of torchvision or Keras: docs/weights.md (default: the newest run in runs/)",
    )


OF_WEIGHTS = (
    "what the run or the file says, and must agree with it; else alexnet_keras for Keras's files, alexnet for others"
)


def assumed_of(trained: "Trained", classes: str | None) -> dict[str, str]:
    """What was assumed of weights, with the names of their ``classes``, in words."""
    return trained.assumed | ({"classes": classes} if classes else {})


def tell_of(path: object, assumed: Mapping[str, str], notes: Sequence[str]) -> None:
    """On standard error: what there is to know of weights, and what was assumed because they do not say it."""
    for note in notes:
        print(f"Note: {note}", file=sys.stderr)
    if assumed:
        parts = "; ".join(f"{name}: {value}" for name, value in assumed.items())
        print(f"Note: Assumed, because {path} does not say: {parts}", file=sys.stderr)


def add_json(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--json", action="store_true", help="print the result as JSON, for a program to read")


def add_download(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--download",
        action="store_true",
        help="the data are cifar10, cifar100 or fashion-mnist: fetch them into data/ first",
    )


def fetch(args: argparse.Namespace) -> None:
    """Where --download was given, the data are then the folder that they were fetched into. DataError, OSError."""
    from tqdm import tqdm

    from ..data import download

    if not args.download:
        return
    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, leave=False, disable=None) as bar:

        def show(file: str, there: int, total: int | None) -> None:
            bar.set_description(file, refresh=False)
            bar.total, bar.n = total, there
            bar.refresh()

        args.data, args.download = str(download.fetch(args.data, progress=show)), False


def listed(numbers: Mapping[str, int]) -> str:
    """How many of what: 12 .heic, 3 .txt"""
    return ", ".join(f"{number:,} {name}" for name, number in numbers.items())


def flag(name: str) -> str:
    """How a setting is written on the command line: batch_size is --batch-size."""
    return f"--{name.replace('_', '-')}"


def count(text: str) -> int:
    """A whole number of at least 1."""
    return _number(text, int, 1, "a whole number of at least 1")


def natural(text: str) -> int:
    """A whole number of at least 0."""
    return _number(text, int, 0, "a whole number of at least 0")


def amount(text: str) -> float:
    """A number of at least 0."""
    return _number(text, float, 0, "a number of at least 0")


def share(text: str) -> float:
    """A number from 0 to below 1."""
    return _number(text, float, 0, "a number from 0 to below 1", 1)


def _number(text: str, kind: Any, least: float, expected: str, below: float = float("inf")) -> Any:
    try:
        value = kind(text)
        if least <= value < below:
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r:.200}")
