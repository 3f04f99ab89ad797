"""Pictures in tar files, read from one end to the other: for data sets that are larger than a disk's cache.

The convention is WebDataset's (https://github.com/webdataset/webdataset): a sample is a run of files with one
name up to the first dot, of which one is a picture and ``.cls`` holds its label, a number:

    train-000000.tar: a/0001.jpg, a/0001.cls, a/0002.jpg, a/0002.cls, ...

An epoch goes through the shards in random order, reads each from its beginning to its end, and draws from the
``BUFFER`` pictures that were read last: the order is known before anything is read. So an epoch can be
taken up in the middle, and reads from there only what is still to come. Pictures of one class should
not stand together: shuffle them once, when the shards are written.

What is where in the shards is read from their headers, once: it is kept in a file beside them, if it can be written.
"""

import errno
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from functools import partial
from os.path import basename
from pathlib import Path
from typing import IO, Any

import numpy as np
from tqdm import tqdm

from ..files import written_whole
from ..reading import checked, json_value, ordinary_size, read_bytes
from . import tar
from .dataset import NAMES, DataError, Dataset
from .images import MAX_MEMORY, SUFFIXES, PictureError, decode

BUFFER = 2000  # pictures, encoded: 220 MB of ImageNet's
LABEL = ".cls"
INDEX = "alexnet-np-index.json"
MAX_INDEX = 80_000_000  # bytes; that of ImageNet's 1.28 million images has 50 to 70 million
MAX_LABEL = 999_999
MAX_LABEL_BYTES = 100  # of a file with a label: a number, and blanks
MAX_UNNAMED = 10_000  # classes without names, where there are fewer samples: one wrong label would make a huge network

Sample = tuple[str, int, int, int]  # the picture's name, start and size; the label


class Shards(Dataset):
    """Pictures in tar files: of each the shard it is in, where in it, how many bytes, and its name."""

    def __init__(
        self,
        paths: Sequence[Path],
        shard: np.ndarray,
        start: np.ndarray,
        size: np.ndarray,
        names: Sequence[str],
        labels: np.ndarray,
        classes: Sequence[str],
    ) -> None:
        self.paths, self.names = list(paths), list(names)
        self.shard, self.start, self.size = shard, start, size
        super().__init__(classes, labels)

    def where(self, index: int) -> str:
        return f"{self.paths[self.shard[index]]}: {self.names[index]}"

    def content(self, index: int) -> bytes:
        with self.paths[self.shard[index]].open("rb") as file:
            return self._read(file, index)

    def image(self, index: int) -> np.ndarray:
        return decode(self.content(index), self.where(index))

    def subset(self, indices: np.ndarray) -> "Shards":
        shard, start, size, labels = (a[indices] for a in (self.shard, self.start, self.size, self.labels))
        return Shards(self.paths, shard, start, size, [self.names[i] for i in indices], labels, self.classes)

    def order(self, rng: np.random.Generator) -> np.ndarray:
        rank = rng.permutation(len(self.paths))
        stream = np.lexsort((self.start, rank[self.shard]))  # shard after shard
        buffer = stream[:BUFFER].tolist()
        coming = stream[BUFFER:].tolist()
        order = []
        for slot, index in zip(rng.integers(BUFFER, size=len(coming)).tolist(), coming, strict=True):
            order.append(buffer[slot])
            buffer[slot] = index
        return np.array([*order, *rng.permutation(buffer)], np.int64)

    def reading(self, order: np.ndarray) -> Generator[Callable[[], np.ndarray], None, None]:
        """See Dataset.reading. For a picture, its shard is read on to it; what lies before it is kept for later."""
        in_sequence = order[np.lexsort((self.start[order], self.shard[order]))]
        bounds = np.searchsorted(self.shard[in_sequence], np.arange(1, len(self.paths)))
        streams = [self._stream(indices.tolist()) for indices in np.split(in_sequence, bounds)]  # one for each shard
        kept: dict[int, bytes | OSError] = {}
        for index in order.tolist():
            while index not in kept:
                coming, content = next(streams[self.shard[index]])
                kept[coming] = content
            yield partial(self._decode, kept.pop(index), index)

    def _stream(self, indices: list[int]) -> Iterator[tuple[int, bytes | OSError]]:
        """What is stored of these pictures of one shard, in the order in which they lie in it."""
        with ExitStack() as opened:
            file: IO[bytes] | None = None
            for index in indices:
                content: bytes | OSError
                try:
                    file = file or opened.enter_context(self.paths[self.shard[index]].open("rb"))
                    content = self._read(file, index)
                except OSError as error:
                    content = error
                if index == indices[-1]:
                    opened.close()  # now: nobody may ask for more
                yield index, content

    def _read(self, file: IO[bytes], index: int) -> bytes:
        if self.size[index] > MAX_MEMORY:
            raise OSError(errno.EFBIG, f"expected at most {MAX_MEMORY:,} bytes, got {self.size[index]:,}")
        file.seek(self.start[index])
        return file.read(self.size[index])

    def _decode(self, content: bytes | OSError, index: int) -> np.ndarray:
        if isinstance(content, OSError):
            raise PictureError(self.where(index), f"cannot be read ({content.strerror})") from content
        return decode(content, self.where(index))


def open_shards(paths: Sequence[Path], classes: Sequence[str] | None = None) -> Shards:
    """What these tar files hold. DataError where one is damaged or has no samples.

    Without ``classes`` their names are numbers, 0 to the largest label.
    """
    lists: dict[Path, Listing] = {}
    for folder in dict.fromkeys(path.parent for path in paths):
        lists |= _index(folder, [path for path in paths if path.parent == folder])
    shard = [number for number, path in enumerate(paths) for _ in lists[path].names]
    names = [name for path in paths for name in lists[path].names]
    starts, sizes, labels = (
        [number for numbers in columns for number in numbers]
        for columns in zip(
            *((lists[path].starts, lists[path].sizes, lists[path].labels) for path in paths), strict=True
        )
    )
    if classes is None:
        number = max(labels) + 1
        if number > max(MAX_UNNAMED, len(labels)):
            path = next(path for path in paths if number - 1 in lists[path].labels)
            expected = f"expected labels below {MAX_UNNAMED:,} or the number of samples, {len(labels):,}"
            raise DataError(f"{path}: {expected}, got {number - 1:,}: name the classes in {NAMES} if that is right")
        classes = [str(label) for label in range(number)]
    return Shards(paths, np.array(shard), np.array(starts), np.array(sizes), names, np.array(labels), classes)


@dataclass(frozen=True)
class Listing:
    """A shard's size and time of writing, and of each sample the image's name and place, and the label."""

    stamp: tuple[int, int]
    names: list[str]
    starts: list[int]
    sizes: list[int]
    labels: list[int]

    def __post_init__(self) -> None:
        """ValueError for what no shard of this size can hold."""
        numbers = self.starts, self.sizes, self.labels
        if any(len(column) != len(self.names) for column in numbers):
            raise ValueError("expected a start, a size and a label for each name")
        if any(min(column, default=0) < 0 for column in numbers) or max(self.labels, default=0) > MAX_LABEL:
            raise ValueError("expected places and labels of at least 0")
        if any(start + size > self.stamp[0] for start, size in zip(self.starts, self.sizes, strict=True)):
            raise ValueError("expected samples within the shard")


def _index(folder: Path, paths: Sequence[Path]) -> dict[Path, Listing]:
    """What each of these tar files in a folder holds: from the index, or from themselves if it does not know them."""
    index: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        index = checked(INDEX, json_value(read_bytes(folder / INDEX, MAX_INDEX)), dict[str, Any])
    found: dict[Path, Listing] = {}
    new = False
    for path in tqdm(paths, "reading the shards' headers", leave=False, disable=None):
        stamp = (path.stat().st_size, path.stat().st_mtime_ns)
        known = None
        with suppress(KeyError, ValueError):
            known = checked(path.name, index[path.name], Listing)
        if known is None or known.stamp != stamp:
            known = _listed(stamp, list(_samples(path)))
            index[path.name] = asdict(known)
            new = True
        if not known.names:
            raise DataError(f"{path}: expected samples, a picture and a {LABEL} each, found none")
        found[path] = known
    if new:
        with suppress(OSError), written_whole(folder / INDEX) as unfinished:
            unfinished.write_text(json.dumps(index), encoding="utf-8")
    return found


def _listed(stamp: tuple[int, int], samples: Sequence[Sample]) -> Listing:
    return Listing(
        stamp,
        names=[name for name, _, _, _ in samples],
        starts=[start for _, start, _, _ in samples],
        sizes=[size for _, _, size, _ in samples],
        labels=[label for _, _, _, label in samples],
    )


def _samples(path: Path) -> Iterator[Sample]:
    """The samples of a tar file. DataError where it is damaged, or does not follow the convention."""
    key, picture, label = "", None, None
    try:
        ordinary_size(path)
        with path.open("rb") as file:
            for member in tar.members(path):
                name = basename(member.name)
                stem = member.name[: len(member.name) - len(name)] + name.partition(".")[0]
                if stem != key:
                    if key:
                        yield _sample(path, key, picture, label)
                    key, picture, label = stem, None, None
                suffix = Path(name).suffix.lower()
                if member.is_link and (suffix in SUFFIXES or suffix == LABEL):
                    expected = "expected a file, got a link: make the shard with tar --dereference --hard-dereference"
                    raise DataError(f"{path}: {member.name:.200}: {expected}")
                if suffix in SUFFIXES:
                    if picture is not None:
                        got = f"{picture.name:.200} and {member.name:.200}"
                        raise DataError(f"{path}: sample {key:.200}: expected one picture, got {got}")
                    picture = member
                elif suffix == LABEL:
                    file.seek(member.start)
                    label = file.read(min(member.size, MAX_LABEL_BYTES + 1))
    except DataError:
        raise
    except ValueError as error:
        raise DataError(f"{path}: is no uncompressed tar file, or is damaged or cut short ({error})") from error
    if key:
        yield _sample(path, key, picture, label)


def _sample(path: Path, key: str, picture: tar.Member | None, label: bytes | None) -> Sample:
    if picture is None or label is None:
        raise DataError(
            f"{path}: sample {key:.200}: expected a picture and a {LABEL}, got no {LABEL if picture else 'picture'}"
        )
    digits = label.strip()
    if len(label) > MAX_LABEL_BYTES or not digits.isdigit() or int(digits) > MAX_LABEL:
        expected = f"expected a whole number from 0 to {MAX_LABEL:,}"
        raise DataError(f"{path}: {key:.200}{LABEL}: {expected}, got {label[:20]!r}")
    return picture.name, picture.start, picture.size, int(digits)
