"""Data sets fetched from where their authors publish them: checked, taken up again, there whole or not at all."""

import gzip
import hashlib
import os
import shutil
import ssl
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic, sleep
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from ..files import rename, written_whole
from ..reading import printable
from .dataset import NAMES, DataError

ROOT = Path("data")
ATTEMPTS = 6
PAUSE = 1.0  # seconds before the second attempt; twice as long before each further one
TIMEOUT = 30.0  # seconds without a byte
PERIOD = 60.0  # seconds in which the headers come, and after which the pace is looked at
SLOWEST = 1000  # bytes a second
CHUNK = 1 << 18
MAX_UNPACKED = 1_000_000_000  # bytes of all files in an archive; CIFAR's have 185 million
# What a server and the network can raise: the last two for the address of a redirection, or a header, that is none.
NETWORK = (HTTPException, URLError, ConnectionError, TimeoutError, ssl.SSLError, ValueError, OverflowError)

Progress = Callable[[str, int, int | None], None]  # the file's name, bytes that are there, bytes in all (if known)


@dataclass(frozen=True)
class Source:
    """The files of a data set, with their MD5 sums and sizes in bytes; ``archives`` are unpacked and go.

    ``classes`` are written into classes.txt, where none of the files has the names.
    """

    url: str
    files: dict[str, tuple[str, int]]
    archives: bool
    classes: tuple[str, ...] = ()


# The sums are those on the authors' pages.
SETS = {
    "cifar10": Source(
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-10-binary.tar.gz": ("c32a1d4ab5d03f1284b67883e8d87530", 170_052_171)},
        archives=True,
    ),
    "cifar100": Source(
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-100-binary.tar.gz": ("03b5dce01913d631647c71ecec9e9cb8", 168_513_733)},
        archives=True,
    ),
    "fashion-mnist": Source(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        {
            "train-images-idx3-ubyte.gz": ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880),
            "train-labels-idx1-ubyte.gz": ("25c81989df183df01b3e8a0aad5dffbe", 29_515),
            "t10k-images-idx3-ubyte.gz": ("bef4ecab320f06d8554ea6380940ec79", 4_422_102),
            "t10k-labels-idx1-ubyte.gz": ("bb300cfdad3c16e7a12a480ee83cd310", 5_148),
        },
        archives=False,
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
    ),
}


def fetch(name: str, root: Path = ROOT, progress: Progress = lambda *_: None) -> Path:
    """The folder of a data set, root/name; what it lacks is fetched.

    Raises DataError where that fails: what came so far stays, and the next attempt goes on from there.
    """
    if name not in SETS:
        raise DataError(f"download: expected {', '.join(SETS)}, got {name}")
    source, folder = SETS[name], root / name
    if source.archives:
        if not folder.is_dir():
            root.mkdir(parents=True, exist_ok=True)
            for file, (md5, size) in source.files.items():
                download(source.url + file, root / file, md5, size, progress)
                unpack(root / file, folder)
                (root / file).unlink()
    else:
        folder.mkdir(parents=True, exist_ok=True)
        for file, (md5, size) in source.files.items():
            download(source.url + file, folder / file, md5, size, progress)
        if source.classes and not (folder / NAMES).exists():
            with written_whole(folder / NAMES) as unfinished:
                unfinished.write_text("\n".join([*source.classes, ""]), encoding="utf-8")
    return folder


def download(url: str, path: Path, md5: str, size: int, progress: Progress = lambda *_: None) -> None:
    """Fetch a file of ``size`` bytes, unless it is there. It gets its name when it is whole and its sum is right.

    Until then it is called .part. A connection that breaks is taken up where it broke, several times; a file of another
    sum is fetched anew. Raises DataError where that fails, or the file is larger; OSError where it cannot be written.
    """
    if path.exists():
        return
    part = path.with_name(f"{path.name}.part")
    for attempt in range(ATTEMPTS):
        if attempt:
            sleep(PAUSE * 2 ** (attempt - 1))
        try:
            _go_on(url, part, size, progress)
        except HTTPError as error:
            problem = f"the server says {error.code} {error.reason}"
            if error.code < 500:
                break
            continue
        except NETWORK as error:
            problem = str(getattr(error, "reason", None) or error or type(error).__name__)
            continue
        with part.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
            os.fsync(file.fileno())
        if found == md5:
            rename(part, path)
            return
        part.unlink()
        problem = f"expected a file with the MD5 sum {md5}, got {found}"
    raise DataError(f"{url} could not be fetched: {printable(problem):.300}")


def _go_on(url: str, part: Path, size: int, progress: Progress) -> None:
    """Fetch what is missing of a file. ConnectionError where less came than was announced, or another part."""
    there = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        response = _opened(request)
    except HTTPError as error:
        error.close()
        if error.code == 416 and there:  # nothing is missing, or the file is another one: its sum will tell
            return
        raise
    with response:
        announced = f"bytes {there}-"
        got = response.headers.get("Content-Range", "")
        goes_on = there > 0 and response.status == 206 and got.startswith(announced)
        if response.status == 206 and not goes_on:
            part.unlink(missing_ok=True)
            raise ConnectionError(f"expected {announced if there else 'the whole file'}, got {got or 'a part of it'}")
        there = there if goes_on else 0
        length = response.headers.get("Content-Length")
        if length is not None and (not length.isdecimal() or there + int(length) > size):
            raise ConnectionError(f"expected a file of {size:,} bytes, got {length} more after {there:,}")
        total = None if length is None else there + int(length)
        with part.open("ab" if goes_on else "wb") as file:
            pace = Pace()
            while chunk := response.read1(CHUNK):
                if there + len(chunk) > size:
                    file.close()
                    part.unlink()
                    raise ConnectionError(f"expected a file of {size:,} bytes, got more")
                file.write(chunk)
                there += len(chunk)
                pace.check(len(chunk))
                progress(part.stem, there, total)
    if total is not None and there < total:
        raise ConnectionError(f"the connection broke after {there:,} of {total:,} bytes")


class Pace:
    """How fast bytes come. A server that sends one from time to time keeps nobody waiting for ever."""

    def __init__(self) -> None:
        self.began, self.bytes = monotonic(), 0

    def check(self, number: int) -> None:
        """After so many bytes. ConnectionError where PERIOD seconds have brought less than SLOWEST bytes each."""
        self.bytes += number
        seconds = monotonic() - self.began
        if seconds >= PERIOD:
            if self.bytes < SLOWEST * seconds:
                raise ConnectionError(f"the server is too slow: {self.bytes:,} bytes in {seconds:.0f} seconds")
            self.began, self.bytes = monotonic(), 0


def _opened(request: Request) -> HTTPResponse:
    """The answer to a request, by HTTP only, wherever it is redirected to. TimeoutError after PERIOD seconds.

    A server may send its headers a byte at a time, each in time: so they are waited for in a thread.
    """
    opener = OpenerDirector()
    for handler in (
        ProxyHandler,
        UnknownHandler,
        HTTPHandler,
        HTTPSHandler,
        HTTPDefaultErrorHandler,
        HTTPRedirectHandler,
        HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    answers: SimpleQueue[HTTPResponse | Exception] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(opener.open(request, timeout=TIMEOUT))
        except Exception as error:
            answers.put(error)

    Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=PERIOD)
    except Empty:
        raise TimeoutError(f"the server has not answered within {PERIOD:.0f} seconds") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def unpack(archive: Path, folder: Path) -> None:
    """The files in a .tar.gz, without the folders that they are in; the folder appears whole or not at all."""
    unfinished = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            size = 0
            for member in tar:
                size += member.size
                if not 0 <= size <= MAX_UNPACKED:
                    raise tarfile.TarError(f"it has more than {MAX_UNPACKED:,} bytes")
                content = tar.extractfile(member) if member.isfile() else None
                if content is not None:
                    with (
                        content,
                        written_whole(unfinished / Path(member.name).name) as whole,  # on the disk before the folder is
                        whole.open("wb") as file,
                    ):
                        shutil.copyfileobj(content, file)
        rename(unfinished, folder)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, RecursionError, ValueError) as error:
        raise DataError(f"{archive} cannot be unpacked ({error})") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
