"""``alexnet-np``: train, evaluate, predict, check-data, augment, summary, ... One module a command.

Exit codes: 0 all is well; 1 a check failed; 2 bad input, said in one sentence; 130 stopped by Ctrl-C
or another signal.
"""

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from types import ModuleType

from .. import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code."""
    try:
        return _run(argv)
    except KeyboardInterrupt:  # also while modules are imported: so they are imported within
        return 130


def command_modules() -> tuple[ModuleType, ...]:
    """The modules of all commands."""
    from . import augment, benchmark, check_data, doctor, evaluate, export, gradcheck, predict, summary, train

    return train, evaluate, predict, export, check_data, augment, summary, gradcheck, benchmark, doctor


def _run(argv: Sequence[str] | None) -> int:
    from .common import UserError, discard, lacks_memory

    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed from the beginning, as by `>&-` or some job schedulers
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, TextIOWrapper):  # as standard error: a file's name need not be text that can be printed
        sys.stdout.reconfigure(errors="backslashreplace")
    whole = parser()
    args, others = whole.parse_known_args(argv)
    try:
        try:
            code = _run_command(whole, argv, args, others)
            sys.stdout.flush()
            return code
        except (MemoryError, ImportError, OSError, RuntimeError) as error:
            if not lacks_memory(error):
                raise
            raise UserError(f"there is not enough memory ({error})") from error
    except UserError as error:
        try:
            print(f"alexnet-np {args.command}: {_printable(str(error))}", file=sys.stderr)
        except OSError:  # nobody reads it
            discard(sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe has gone, as in `... | head`
        discard(sys.stdout)
        return 1
    except OSError as error:  # the disk that standard output is written to is full
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        discard(sys.stdout)
        print(f"alexnet-np {args.command}: the output could not be written ({error})", file=sys.stderr)
        return 2


def _run_command(
    whole: argparse.ArgumentParser, argv: Sequence[str] | None, args: argparse.Namespace, others: list[str]
) -> int:
    from . import beginning, benchmark, doctor
    from .common import checked_threads, sentences

    with sentences():
        if path := beginning.config_file(args):
            args.parser.set_defaults(**beginning.file_settings(path, args))
            args, others = whole.parse_known_args(argv)
    if args.run is benchmark.run:
        args.others = others
    elif others:
        whole.error(f"unrecognized arguments: {' '.join(others)}")
    if args.run is not doctor.run:  # which has it among its findings
        checked_threads()
    code: int = args.run(args)
    return code


def _printable(message: str) -> str:
    """Names come from files, and may hold what steers a terminal."""
    from ..reading import printable

    return "\n".join(map(printable, message.split("\n")))


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    whole = argparse.ArgumentParser(
        prog="alexnet-np",
        description="AlexNet in plain array code, forward and backward by hand. Begin with: alexnet-np train",
        epilog="alexnet-np COMMAND --help says more about a command.",
    )
    whole.add_argument("--version", action="version", version=f"alexnet-np {__version__}")
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in command_modules():
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
