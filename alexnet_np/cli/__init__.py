"""``alexnet-np``: train, evaluate, predict, check-data, augment, summary, ... One module a command.

Exit codes: 0 all is well; 1 a check failed; 2 bad input, said in one sentence; 130 stopped by Ctrl-C
or another signal.
"""

import argparse
import sys
from collections.abc import Sequence
from io import TextIOWrapper

from .. import __version__
from . import augment, beginning, benchmark, check_data, doctor, evaluate, export, gradcheck, predict, summary, train
from .common import UserError, discard, sentences

COMMANDS = (train, evaluate, predict, export, check_data, augment, summary, gradcheck, benchmark, doctor)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    if isinstance(sys.stdout, TextIOWrapper):  # as standard error: a file's name need not be text that can be printed
        sys.stdout.reconfigure(errors="backslashreplace")
    whole = parser()
    args, others = whole.parse_known_args(argv)
    try:
        if path := beginning.config_file(args):
            with sentences():
                args.parser.set_defaults(**beginning.file_settings(path, args))
            args, others = whole.parse_known_args(argv)
        if args.run is benchmark.run:
            args.others = others
        elif others:
            whole.error(f"unrecognized arguments: {' '.join(others)}")
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except UserError as error:
        try:
            print(f"alexnet-np {args.command}: {error}", file=sys.stderr)
        except OSError:  # nobody reads it
            discard(sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe has gone, as in `... | head`
        discard(sys.stdout)
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    whole = argparse.ArgumentParser(
        prog="alexnet-np",
        description="AlexNet in plain array code, forward and backward by hand. Begin with: alexnet-np train",
        epilog="alexnet-np COMMAND --help says more about a command.",
    )
    whole.add_argument("--version", action="version", version=f"alexnet-np {__version__}")
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in COMMANDS:
        summary_line, _, _ = (module.__doc__ or "").partition("\n")
        command = commands.add_parser(
            module.__name__.rpartition(".")[2].replace("_", "-"),
            help=summary_line,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run, parser=command)
    return whole
