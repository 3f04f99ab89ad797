"""Damaged and hostile files for every reader: what comes is a result or a documented error, in bounded memory and time.

    python tests/fuzz.py                          a few cases for each reader, always the same (test_fuzz.py runs this)
    python tests/fuzz.py --seconds 600 --seed 1   other cases, for ten minutes
    python tests/fuzz.py --only pth:1234          a single case again: its file stays in the folder that is printed

Each case is a file that is right, changed by a generator that is seeded with the reader's name and the number of the
case: bits, pieces and lengths of bytes; or keys, types and numbers of what is JSON inside, with lengths and checksums
made right again, so that the change is read. Exit code 1 where a case ends in another error or a warning, or takes more
than a gigabyte or ten seconds.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import fuzz_readers

DOCUMENTED = (ValueError, OSError, KeyError)  # DataError is a ValueError
MEMORY = 10**9  # bytes beside what the process has when it begins
SECONDS = 10  # of a core; by the clock, for a reader that waits, twelve times as many
LONGEST = 3000  # characters of a message


class TooLong(BaseException):
    """No reader catches it."""


Counts = dict[str, dict[str, int]]


def run_case(reader: fuzz_readers.Reader, number: int, folder: Path, counts: Counts) -> str | None:
    """What is wrong with how the reader takes a case; None where nothing is."""
    rng = random.Random(f"{reader.name}:{number}")
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(12 * SECONDS)
    try:
        reader.run(rng, folder)
        counts[reader.name]["read"] += 1
    except DOCUMENTED as error:
        counts[reader.name]["refused"] += 1
        message = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        if not message or len(message) > LONGEST or (isinstance(error, KeyError) and ":" not in message):
            return f"{type(error).__name__} is no sentence: {message[:LONGEST]!r}\n{traceback.format_exc()[-3000:]}"
    except (Exception, TooLong) as error:
        return f"{type(error).__name__}: {str(error)[:500]}\n{traceback.format_exc()[-3000:]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
    return None


def bound_memory() -> None:
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):  # no Linux
        return
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def too_long(*_: object) -> None:
    raise TooLong(f"more than {SECONDS} seconds")


def cases(
    arguments: argparse.Namespace, readers: list[fuzz_readers.Reader]
) -> Iterator[tuple[fuzz_readers.Reader, int]]:
    """Reader and number of each case, in turn."""
    if arguments.only:
        name, _, number = arguments.only.partition(":")
        yield next(reader for reader in readers if reader.name == name), int(number)
        return
    end = time.monotonic() + arguments.seconds
    for number in count(arguments.seed * 10**9):
        chosen = [r for r in readers if arguments.seconds or number < max(2, round(arguments.cases / r.cost))]
        if not chosen or (arguments.seconds and time.monotonic() > end):
            return
        for reader in chosen:
            if not arguments.seconds or number % reader.cost == 0:
                yield reader, number


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100, help="for each reader; fewer for slow ones (default: 100)")
    parser.add_argument("--seconds", type=float, default=0.0, help="go on for so long, with other cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", nargs="+", help="only these (default: all)")
    parser.add_argument("--only", metavar="READER:NUMBER", help="a single case")
    arguments = parser.parse_args()
    warnings.simplefilter("error")
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    readers = [r for r in fuzz_readers.readers(folder) if not arguments.readers or r.name in arguments.readers]
    bound_memory()
    signal.signal(signal.SIGALRM, too_long)
    signal.signal(signal.SIGPROF, too_long)
    failures, counts = 0, {reader.name: {"read": 0, "refused": 0} for reader in readers}
    for reader, number in cases(arguments, readers):
        if problem := run_case(reader, number, folder / reader.name, counts):
            failures += 1
            print(f"---- {reader.name}:{number}: {problem}", flush=True)
            if failures == 20:
                break
    print(json.dumps(counts))
    if arguments.only or failures:
        print(f"the files of the last cases are in {folder}")
    else:
        fuzz_readers.remove(folder)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
