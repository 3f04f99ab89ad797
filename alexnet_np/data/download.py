"""Data sets fetched from where their authors publish them: checked, taken up again, there whole or not at all."""

import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from time import sleep
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from ..files import rename, written_whole
from .dataset import NAMES, DataError

ROOT = Path("data")
ATTEMPTS = 6
PAUSE = 1.0  # seconds before the second attempt; twice as long before each further one
TIMEOUT = 30.0  # seconds without a byte
CHUNK = 1 << 18

Progress = Callable[[str, int, int | None], None]  # the file's name, bytes that are there, bytes in all (if known)


@dataclass(frozen=True)
class Source:
    """The files of a data set, with their MD5 sums; ``archives`` are unpacked and go.

    ``classes`` are written into classes.txt, where none of the files has the names.
    """

    url: str
    files: dict[str, str]
    archives: bool
    classes: tuple[str, ...] = ()


# The sums are those on the authors' pages.
SETS = {
    "cifar10": Source(
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"},
        archives=True,
    ),
    "cifar100": Source(
        "https://www.cs.toronto.edu/~kriz/",
        {"cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8"},
        archives=True,
    ),
    "fashion-mnist": Source(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
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
            for file, md5 in source.files.items():
                download(source.url + file, root / file, md5, progress)
                unpack(root / file, folder)
                (root / file).unlink()
    else:
        folder.mkdir(parents=True, exist_ok=True)
        for file, md5 in source.files.items():
            download(source.url + file, folder / file, md5, progress)
        if source.classes and not (folder / NAMES).exists():
            with written_whole(folder / NAMES) as unfinished:
                unfinished.write_text("\n".join([*source.classes, ""]), encoding="utf-8")
    return folder


def download(url: str, path: Path, md5: str, progress: Progress = lambda *_: None) -> None:
    """Fetch a file, unless it is there. It gets its name when it is whole and its sum is right; until then it is .part.

    A connection that breaks is taken up where it broke, several times; a file of another sum is fetched anew.
    """
    if path.exists():
        return
    part = path.with_name(f"{path.name}.part")
    for attempt in range(ATTEMPTS):
        if attempt:
            sleep(PAUSE * 2 ** (attempt - 1))
        try:
            _go_on(url, part, progress)
        except HTTPError as error:
            problem = f"the server says {error.code} {error.reason}"
            if error.code < 500:
                break
            continue
        except (HTTPException, URLError, ConnectionError, TimeoutError) as error:
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
    raise DataError(f"{url} could not be fetched: {problem}")


def _go_on(url: str, part: Path, progress: Progress) -> None:
    """Fetch what is missing of a file. ConnectionError where less came than was announced."""
    there = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        response = urlopen(request, timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and there:  # nothing is missing, or the file is another one: its sum will tell
            return
        raise
    with response:
        announced = f"bytes {there}-"
        goes_on = response.status == 206 and response.headers.get("Content-Range", "").startswith(announced)
        if response.status == 206 and not goes_on:
            part.unlink()
            raise ConnectionError(f"expected {announced}, got {response.headers.get('Content-Range')}")
        there = there if goes_on else 0
        length = response.headers.get("Content-Length")
        total = None if length is None else there + int(length)
        with part.open("ab" if goes_on else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                there += len(chunk)
                progress(part.stem, there, total)
    if total is not None and there < total:
        raise ConnectionError(f"the connection broke after {there:,} of {total:,} bytes")


def unpack(archive: Path, folder: Path) -> None:
    """The files in a .tar.gz, without the folders that they are in; the folder appears whole or not at all."""
    unfinished = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isfile() else None
                if content is not None:
                    with (
                        content,
                        written_whole(unfinished / Path(member.name).name) as whole,  # on the disk before the folder is
                        whole.open("wb") as file,
                    ):
                        shutil.copyfileobj(content, file)
        rename(unfinished, folder)
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{archive} cannot be unpacked ({error})") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
