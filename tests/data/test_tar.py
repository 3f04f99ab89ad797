"""Tar files: what is where in them, and what no stranger's file may do."""

import io
import json
import tarfile
from dataclasses import replace

import pytest
from test_shards import png, write_shards, write_tar

from alexnet_np import data
from alexnet_np.data import shards, tar

LONG = "q" * 300 + "/ü.png"
LINKS = (tarfile.SYMTYPE, tarfile.LNKTYPE)
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


@pytest.mark.parametrize("name", FORMATS)
def test_files_are_where_tarfile_finds_them(tmp_path, name):
    names = ["a.png", "d/" + "x" * 90 + "/y.png", *([] if name == "ustar" else [LONG, "\udcff.png"]), "last"]
    with tarfile.open(tmp_path / "a.tar", "w", format=FORMATS[name]) as archive:
        for number, file in enumerate(names):
            for kind in (tarfile.DIRTYPE, tarfile.FIFOTYPE, *LINKS):
                other = tarfile.TarInfo(f"other {number}")
                other.type, other.linkname = kind, "x" * (5 if name == "ustar" else 200)
                archive.addfile(other)
            info = tarfile.TarInfo(file)
            info.size = 512 * number + number
            archive.addfile(info, io.BytesIO(b"?" * info.size))
    with tarfile.open(tmp_path / "a.tar") as archive:
        expected = [tar.Member(info.name, info.offset_data, info.size) for info in archive if info.isfile()]
        links = [tar.Member(info.name, info.offset_data, 0, True) for info in archive if info.type in LINKS]
    found = list(tar.members(tmp_path / "a.tar"))
    assert [member for member in found if not member.is_link] == expected
    assert [member for member in found if member.is_link] == links
    assert (len(expected), len(links)) == (len(names), 2 * len(names))


def header(name, size, kind=tarfile.REGTYPE, field=None):
    """A header whose checksum is right; ``field`` is what stands for the size."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if field is not None:
        block[124:136] = field
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


def record(key, value):
    text = f" {key}={value}\n"
    length = len(text) + 2
    return f"{length}{text}".encode().ljust(512, b"\0"), length


BELOW_0 = b"\xff" * 12
ATTACKS = {
    "a size below 0": header("1.png", 0, field=BELOW_0),
    "a size of 2**80": header("1.png", 0, field=b"\x80\0" + b"\xff" * 10),
    "a size that is no number": header("1.png", 0, field=b"many\0".ljust(12)),
    "a name of 8 GB": header("././@LongLink", 8 * 2**30 - 1, tarfile.GNUTYPE_LONGNAME),
    "a name below 0": header("././@LongLink", 0, tarfile.GNUTYPE_LONGNAME, BELOW_0),
    "a name of 32 kB": header("././@LongLink", 32768, tarfile.GNUTYPE_LONGNAME) + b"1" * 32768 + header("1.png", 0),
    "records of 8 GB": header("x", 8 * 2**30 - 1, tarfile.XHDTYPE),
    "records of 32 kB": header("x", 32768, tarfile.XHDTYPE) + b"1" * 32768,
    "records without an end": header("x", 512, tarfile.XHDTYPE) + b"1" * 512,
    "a record of length 0": header("x", 512, tarfile.XHDTYPE) + b"0 path=a\n".ljust(512, b"\0"),
    "a record of a size below 0": header("x", 13, tarfile.XHDTYPE) + record("size", "-99")[0],
    "a sparse file": header("1.png", 0, tarfile.GNUTYPE_SPARSE),
    "a sparse file of pax": header("x", 24, tarfile.XHDTYPE) + record("GNU.sparse.major", "1")[0],
    "a part of a file": header("1.png", 0, b"M"),
    "a path for all files": header("x", 13, tarfile.XGLTYPE) + record("path", "a/b")[0],
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_header_is_trusted(tmp_path, attack):
    (tmp_path / "a.tar").write_bytes(ATTACKS[attack] + bytes(1024))
    with pytest.raises(data.DataError, match=r"a\.tar: is no uncompressed tar file, or is damaged or cut short \("):
        shards.open_shards([tmp_path / "a.tar"])
    with pytest.raises(ValueError, match=r"byte|bytes|size|sparse|records|type|for all files"):
        list(tar.members(tmp_path / "a.tar"))


def test_solaris_has_a_letter_of_its_own_for_records(tmp_path):
    content, length = record("path", "long.png")
    (tmp_path / "a.tar").write_bytes(header("x", length, b"X") + content + header("short.png", 0))
    assert [member.name for member in tar.members(tmp_path / "a.tar")] == ["long.png"]


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize("linked", ["1.png", "1.cls"])
def test_no_sample_of_links_is_lost(tmp_path, kind, linked):
    """GNU tar writes the second name of a file as a link."""
    path = write_tar(tmp_path / "a.tar", [("0.png", png(0)), ("0.cls", b"0")])
    with tarfile.open(path, "a") as archive:
        info = tarfile.TarInfo(linked)
        info.type, info.linkname = kind, "0.png"
        archive.addfile(info)
    with pytest.raises(
        data.DataError, match=rf"a\.tar: {linked}: expected a file, got a link: make the shard with tar"
    ):
        shards.open_shards([path])


def test_ten_thousand_long_names_are_read_one_after_another(tmp_path):
    content = (header("././@LongLink", 5, tarfile.GNUTYPE_LONGNAME) + b"b.png".ljust(512, b"\0")) * 10_000
    (tmp_path / "a.tar").write_bytes(content + header("1.png", 0))
    assert [member.name for member in tar.members(tmp_path / "a.tar")] == ["b.png"]


LISTING = shards.Listing((10_240, 1), ["1.png"], [512], [100], [3])


@pytest.mark.parametrize(
    "other",
    [
        {"starts": [-1]},
        {"sizes": [10_000]},
        {"labels": [10**6]},
        {"labels": []},
        {"labels": [10**30]},
        {"labels": ["3"]},
        {"labels": [True]},
        {"names": [None]},
        {"names": "1"},
        {"stamp": [1]},
        {"stamp": None},
        {"more": 1},
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_an_index_that_says_what_cannot_be_is_read_again(tmp_path, other, whole):
    paths = sorted(write_shards(tmp_path, [3]).glob("*.tar"))
    expected = shards.open_shards(paths)
    path = tmp_path / shards.INDEX
    index = json.loads(path.read_text())
    index[paths[0].name] |= other
    path.write_text(json.dumps(index if whole else other))
    assert shards.open_shards(paths).names == expected.names
    assert json.loads(path.read_text())[paths[0].name]["names"] == expected.names


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "3", "{", "null", '{"train-000.tar": [[]]}'])
def test_an_index_that_is_none_is_written_again(tmp_path, text):
    paths = sorted(write_shards(tmp_path, [3]).glob("*.tar"))
    (tmp_path / shards.INDEX).write_text(text)
    assert len(shards.open_shards(paths)) == 3


def test_a_listing_fits_into_its_shard():
    with pytest.raises(ValueError, match="within the shard"):
        replace(LISTING, starts=[10_200])


def test_many_classes_without_names_need_as_many_samples(tmp_path, monkeypatch):
    members = [item for n in range(4) for item in ((f"{n}.png", png(n)), (f"{n}.cls", str(n).encode()))]
    monkeypatch.setattr(shards, "MAX_UNNAMED", 2)
    path = write_tar(tmp_path / "a.tar", members)
    assert len(shards.open_shards([path]).classes) == 4
    assert shards.open_shards([path], ["a", "b", "c", "d", "e"]).labels.tolist() == [0, 1, 2, 3]
    path = write_tar(tmp_path / "b.tar", members[2:])
    with pytest.raises(data.DataError, match=r"b\.tar: expected labels below 2 or the number of samples, 3, got 3"):
        shards.open_shards([path])
