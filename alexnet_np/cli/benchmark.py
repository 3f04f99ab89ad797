"""Measure this project and its peers side by side: python -m benchmarks, from a checkout.

All arguments are handed on; python -m benchmarks --help says which there are.
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path

from .common import UserError

CHECKOUT = Path(__file__).resolve().parents[2]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """None of its own: what this parser does not know is in ``args.others``."""


def run(args: argparse.Namespace) -> int:
    if not (CHECKOUT / "benchmarks" / "__main__.py").is_file():
        raise UserError("the benchmarks are not installed with the package: run this in a checkout (pip install -e .)")
    sys.path.insert(0, str(CHECKOUT))
    worker = import_module("benchmarks.worker")
    try:
        return int(import_module("benchmarks.__main__").main(args.others) or 0)
    except worker.ContenderError as error:  # no contender's: the report names those
        raise UserError(str(error)) from error
