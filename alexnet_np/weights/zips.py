"""Zip files of arrays, as torch and Keras write them: uncompressed, and not trusted.

What such a file says of sizes is checked before memory is taken, its directory has to be small, and the checksum
of each member is checked while it is read.
"""

import zipfile
from typing import BinaryIO

ZIP_MAGIC = b"PK\x03\x04"
MAX_DIRECTORY = 200_000  # bytes; an entry takes 46 and its name: at most 4,300


def members(file: BinaryIO) -> zipfile.ZipFile:
    """The zip file. ValueError where its directory cannot be read, or is too large."""
    try:
        archive = zipfile.ZipFile(_Sparing(file))
    except (zipfile.BadZipFile, NotImplementedError, OverflowError) as error:
        raise ValueError(f"the zip file is damaged ({error!s:.200})") from error
    archive.fp = file
    return archive


class _Sparing:
    """The file while zipfile reads its directory, which it does at once and whatever its size."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.seek, self.tell, self.seekable = file, file.seek, file.tell, file.seekable

    def read(self, size: int = -1, /) -> bytes:
        if size > MAX_DIRECTORY:
            raise ValueError(f"the zip file's directory has more than {MAX_DIRECTORY:,} bytes")
        return self.file.read(size)


def member(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """The bytes of a member that is not compressed, at most so many. ValueError otherwise."""
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise ValueError(f"the zip file holds no {name[:200]!r}") from None
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise ValueError(f"{name!r} is compressed or encrypted in the zip file")
    if info.file_size > most:
        raise ValueError(f"{name!r} is said to have {info.file_size:,} bytes, more than the file has for it")
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, NotImplementedError, OverflowError, EOFError, OSError) as error:
        raise ValueError(f"{name!r} is damaged in the zip file ({error!s:.200})") from error
