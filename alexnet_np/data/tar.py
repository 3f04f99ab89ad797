"""What is where in a tar file: names, positions and sizes of its files, from the headers alone.

Read here and not by Python's tarfile, which trusts the file: of 4 MB, with 50,000 records for all files together, it
makes a copy for each file (gigabytes, and minutes). It takes memory for a name of gigabytes, too, and its older
versions never end at sizes below 0 (CVE-2025-8194) or take quadratic time (CVE-2024-6232).

    a header of 512 bytes | the content, filled up to 512 bytes | ... | two blocks of zeros

Three dialects say in headers of their own what does not fit into 512 bytes: GNU's long names (L), and the records of
POSIX's pax format (x), "LENGTH KEY=VALUE\\n". Sparse files, which are not stored as they are, are refused,
and types that nobody knows.

Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual, "Basic Tar Format".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..reading import ordinary_size

BLOCK = 512
MAX_HEADER = 16_384  # bytes of a long name, or of pax records: a path has at most 4,096
FILES = b"0\0007"  # types of ordinary files: "0", the old format's NUL, and "7", contiguous
LINKS = b"12"
WITHOUT_CONTENT = b"123456"  # links, devices, folders, pipes: a size there says nothing
LONG_NAME, PAX, PAX_OF_ALL, SPARSE = b"L", b"xX", b"g", b"S"  # X: Solaris's
SKIPPED = b"KVDA"  # long names of links; GNU's labels of volumes and lists of folders; Solaris's rights


@dataclass(frozen=True)
class Member:
    """A file in a tar file: its name, and where its content begins and how many bytes it has.

    A link has no content: that stands elsewhere, under another name.
    """

    name: str
    start: int
    size: int
    is_link: bool = False


def members(path: Path) -> Iterator[Member]:
    """The files and links in an uncompressed tar file. OSError; ValueError where it is damaged, cut short or none."""
    end = ordinary_size(path)
    with path.open("rb") as file:
        position = 0
        extended: dict[str, str] = {}  # what the headers before say of the next file
        while position < end:
            block = file.read(BLOCK)
            if not any(block):
                return
            if len(block) < BLOCK or not _is_header(block):
                raise ValueError(f"no header at byte {position:,}")
            kind, size, name = block[156:157], _number(block[124:136]), _name(block)
            start = position + BLOCK
            if kind in FILES + LINKS and extended:
                name, size = extended.get("path", name), int(extended.get("size", size))
            stored = 0 if kind in WITHOUT_CONTENT else -(-size // BLOCK) * BLOCK
            if size < 0 or start + min(size, stored) > end:
                raise ValueError(f"the header at byte {position:,} says {size:,} bytes, more than there are")
            if kind == LONG_NAME:
                extended["path"] = _text(_content(file, size).partition(b"\0")[0])
            elif kind in PAX:
                extended |= _records(_content(file, size))
            elif kind == PAX_OF_ALL:
                _check(_records(_content(file, size)))
            elif kind == SPARSE:
                raise ValueError(f"{name:.200}: expected a file that is stored as it is, got a sparse one")
            elif kind not in SKIPPED:
                if kind in LINKS:
                    yield Member(name, start, 0, is_link=True)
                elif kind not in FILES + WITHOUT_CONTENT:
                    raise ValueError(f"{name:.200}: expected a file, got an entry of type {kind!r}")
                elif kind in FILES and not name.endswith("/"):  # the old format's folders
                    yield Member(name, start, size)
                extended = {}
            position = start + stored
            file.seek(position)


def _is_header(block: bytes) -> bool:
    """Whether its checksum is right, of bytes with or, as some old programs have it, without a sign."""
    without = block[:148] + b" " * 8 + block[156:]
    total = sum(without)
    negative = sum(256 for byte in without if byte > 127)
    return _number(block[148:156]) in (total, total - negative)


def _number(field: bytes) -> int:
    """Octal digits or, for large numbers, base 256 after a byte of 128; -1 for what is neither."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip()
    return int(digits or b"0", 8) if not digits.strip(b"01234567") else -1


def _name(block: bytes) -> str:
    name, prefix = (_text(block[start:end].partition(b"\0")[0]) for start, end in ((0, 100), (345, 500)))
    is_posix = block[257:263] == b"ustar\0"  # GNU's has other things there
    return f"{prefix}/{name}" if is_posix and prefix else name


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _content(file: BinaryIO, size: int) -> bytes:
    if size > MAX_HEADER:
        raise ValueError(f"expected a name or records of at most {MAX_HEADER:,} bytes, got {size:,}")
    return file.read(size)


def _records(content: bytes) -> dict[str, str]:
    """The pax records that say where a file is; others (times, owners) say nothing of that."""
    records = {}
    while content.strip(b"\0"):
        length, _, _ = content.partition(b" ")
        if not (length.isdigit() and len(length) < 6 and len(length) + 1 < int(length) <= len(content)):
            raise ValueError("its pax records are damaged")
        record, content = content[len(length) + 1 : int(length)], content[int(length) :]
        key, _, value = record.removesuffix(b"\n").partition(b"=")
        if key == b"path":
            records["path"] = _text(value)
        elif key == b"size":
            if not value.isdigit() or len(value) > 18:
                raise ValueError(f"its pax records have the size {value[:20]!r}")
            records["size"] = value.decode()
        elif key.startswith(b"GNU.sparse"):
            raise ValueError("expected files that are stored as they are, got a sparse one")
    return records


def _check(records: dict[str, str]) -> None:
    if records:
        raise ValueError(f"expected no {' and '.join(records)} for all files together, got {records!s:.200}")
