"""Data sets fetched over HTTP, from a server that does what servers and networks do."""

import hashlib
import os
import tarfile
import threading
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import numpy as np
import pytest
from pictures import idx_bytes

from alexnet_np import data
from alexnet_np.data import download
from alexnet_np.data.dataset import DataError

CONTENT = np.random.default_rng(0).bytes(700_001)


ODD_ANSWERS = {
    "a part that nobody asked for": b"HTTP/1.1 206 OK\r\nContent-Range: bytes 5-9/700001\r\n\r\n?????",
    "a part without a range": b"HTTP/1.1 206 OK\r\n\r\n?????",
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
    "a length below 0": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "a length of 10**30": b"HTTP/1.1 200 OK\r\nContent-Length: 1" + b"0" * 30 + b"\r\n\r\n",
    "a redirection to a file": b"HTTP/1.1 302 Moved\r\nLocation: file:///etc/passwd\r\n\r\n",
    "a redirection to ftp": b"HTTP/1.1 302 Moved\r\nLocation: ftp://127.0.0.1/file\r\n\r\n",
    "a redirection to nowhere": b"HTTP/1.1 302 Moved\r\nLocation: http://[::1/\xff\r\n\r\n",
    "a redirection to a port that is none": b"HTTP/1.1 302 Moved\r\nLocation: http://127.0.0.1:99999999/\r\n\r\n",
    "no HTTP": b"\x1b[31mred\r\n\r\n",
    "a line that steers the terminal": b"HTTP/1.1 404 \x1b[31mred\x07\r\n\r\n",
    "a chunk of no size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
}


class Handler(BaseHTTPRequestHandler):
    """Answers the n-th request as the n-th of the server's ``faults`` says, and those after the last one rightly."""

    def do_GET(self):
        server = self.server
        fault = server.faults.pop(0) if server.faults else None
        header = self.headers.get("Range")
        server.asked.append(header)
        content = server.files.get(self.path.lstrip("/"))
        if fault == "unavailable" or content is None:
            self.send_error(503 if content else 404)
            return
        if fault == "silent":
            server.released.wait(10)
            return
        if fault in ODD_ANSWERS:
            self.wfile.write(ODD_ANSWERS[fault])
            return
        if fault == "endless":
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while True:
                    self.wfile.write(content)
        first = int(header.removeprefix("bytes=").rstrip("-")) if header and fault != "no ranges" else 0
        if first and first >= len(content):
            self.send_error(416)
            return
        if fault == "another range":
            first += 1
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        body = content[first:]
        if fault != "no length":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault == "drop":
            body = body[: len(body) // 2]
        elif fault == "corrupt":
            body = bytes([body[0] ^ 1]) + body[1:]
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.001)
    monkeypatch.setenv("no_proxy", "*")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.faults, server.asked = {"file": CONTENT}, [], []
    server.daemon_threads, server.released = True, threading.Event()
    server.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


def md5(content):
    return hashlib.md5(content).hexdigest()


def get(server, folder, content=CONTENT, **options):
    download.download(f"{server.url}file", folder / "file", md5(content), len(content), **options)
    return (folder / "file").read_bytes()


def test_a_file_comes_whole_and_is_not_fetched_twice(server, tmp_path):
    seen = []
    assert get(server, tmp_path, progress=lambda *now: seen.append(now)) == CONTENT
    assert seen[-1] == ("file", len(CONTENT), len(CONTENT))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    get(server, tmp_path)
    assert server.asked == [None]


def test_a_connection_that_breaks_is_taken_up_where_it_broke(server, tmp_path):
    server.faults = ["drop", "drop", "unavailable", "drop"]
    assert get(server, tmp_path) == CONTENT
    whole = len(CONTENT)
    half = whole // 2
    three_quarters = half + (whole - half) // 2
    ranges = [None, f"bytes={half}-", f"bytes={three_quarters}-", f"bytes={three_quarters}-"]
    assert server.asked[:4] == ranges
    assert len(server.asked) == 5


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.faults = ["drop", "no ranges"]
    seen = []
    assert get(server, tmp_path, progress=lambda *now: seen.append(now)) == CONTENT
    assert seen[-1] == ("file", len(CONTENT), len(CONTENT))


def test_a_server_that_answers_with_another_range_is_not_believed(server, tmp_path):
    server.faults = ["drop", "another range"]
    assert get(server, tmp_path) == CONTENT
    assert server.asked == [None, f"bytes={len(CONTENT) // 2}-", None]


@pytest.mark.parametrize("faults", [["corrupt"], ["drop", "corrupt"], ["corrupt", "drop", "no length"]])
def test_what_came_with_another_sum_is_fetched_anew(server, tmp_path, faults):
    server.faults = faults
    assert get(server, tmp_path) == CONTENT


def test_a_file_that_is_too_short_or_another_one_is_refused(server, tmp_path):
    for content in (CONTENT[:-1], b"<html>Sign in to this network</html>"):
        server.files["file"] = content
        with pytest.raises(DataError, match=f"expected a file with the MD5 sum {md5(CONTENT)}, got {md5(content)}"):
            get(server, tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_what_is_left_of_an_attempt_that_was_given_up_is_used_by_the_next(server, tmp_path):
    server.faults = ["drop", *["unavailable"] * 10]
    with pytest.raises(DataError, match="could not be fetched: the server says 503"):
        get(server, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file.part"]
    server.faults, server.asked = [], []
    assert get(server, tmp_path) == CONTENT
    assert server.asked == [f"bytes={len(CONTENT) // 2}-"]


def test_a_rest_that_was_whole_or_of_another_file_is_recognised(server, tmp_path):
    for rest in (CONTENT, CONTENT + b"more", b"of another file"):
        (tmp_path / "file.part").write_bytes(rest)
        assert get(server, tmp_path) == CONTENT
        (tmp_path / "file").unlink()


def test_what_is_not_there_is_said_at_once(server, tmp_path):
    with pytest.raises(DataError, match="nowhere could not be fetched: the server says 404"):
        download.download(f"{server.url}nowhere", tmp_path / "file", md5(b""), 9)
    assert len(server.asked) == 1


def test_without_a_server_there_is_a_sentence(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    closed = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    closed.server_close()
    with pytest.raises(DataError, match=r"could not be fetched: .*refused"):
        download.download(f"http://127.0.0.1:{closed.server_port}/file", tmp_path / "file", md5(b""), 9)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # urllib leaves sockets to be collected
@pytest.mark.parametrize("fault", ODD_ANSWERS)
def test_whatever_a_server_answers_there_is_a_sentence(server, tmp_path, monkeypatch, fault):
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    server.faults = [fault] * 2
    with pytest.raises(DataError, match=r"file could not be fetched: .") as caught:
        get(server, tmp_path)
    assert str(caught.value).isprintable()
    assert "root:" not in "".join(path.read_text() for path in tmp_path.iterdir())
    server.faults = [fault]
    if "404" not in str(caught.value) and "302" not in str(caught.value):  # which are final
        assert get(server, tmp_path) == CONTENT


def test_a_server_that_sends_for_ever_is_left(server, tmp_path):
    server.faults = ["endless"] * download.ATTEMPTS
    with pytest.raises(DataError, match="could not be fetched: expected a file of 700,001 bytes, got more"):
        get(server, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_sends_a_byte_from_time_to_time_is_left(server, tmp_path, monkeypatch):
    clock = iter(range(0, 10**9, 40))
    monkeypatch.setattr(download, "monotonic", lambda: next(clock))
    assert get(server, tmp_path) == CONTENT
    (tmp_path / "file").unlink()
    monkeypatch.setattr(download, "SLOWEST", 10**6)
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    with pytest.raises(DataError, match=r"could not be fetched: the server is too slow: [\d,]+ bytes in 80 seconds"):
        get(server, tmp_path)


def test_a_server_that_does_not_come_to_the_end_of_its_headers_is_left(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PERIOD", 0.1)
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    server.faults = ["silent"] * 2
    with pytest.raises(DataError, match=r"could not be fetched: the server has not answered within 0 seconds"):
        get(server, tmp_path)


def test_the_sizes_of_known_files_are_known():
    for source in download.SETS.values():
        for md5sum, size in source.files.values():
            assert len(md5sum) == 32
            assert 5000 < size < 200_000_000


def archive(members):
    content = BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, inside in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(inside)
            tar.addfile(info, BytesIO(inside))
        link = tarfile.TarInfo("cifar/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return content.getvalue()


def test_an_archive_becomes_a_folder_that_can_be_trained_on(server, tmp_path, monkeypatch):
    record = bytes(3073)
    members = {f"cifar/data_batch_{k}.bin": record * 2 for k in range(1, 6)}
    members |= {"cifar/test_batch.bin": record, "../../cifar/batches.meta.txt": b"cat\ndog\n"}
    server.files["c.tar.gz"] = archive(members)
    source = download.Source(
        server.url, {"c.tar.gz": (md5(server.files["c.tar.gz"]), len(server.files["c.tar.gz"]))}, archives=True
    )
    monkeypatch.setitem(download.SETS, "cifar10", source)
    folder = download.fetch("cifar10", tmp_path / "data")
    assert folder == tmp_path / "data" / "cifar10"
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["cifar10"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(name.rpartition("/")[2] for name in members)
    assert len(data.load(folder).train) == 10
    download.fetch("cifar10", tmp_path / "data")
    assert len(server.asked) == 1


def test_an_archive_that_cannot_be_unpacked_leaves_no_folder(tmp_path):
    (tmp_path / "c.tar.gz").write_bytes(archive({"cifar/a": CONTENT})[:-1000])
    with pytest.raises(DataError, match="cannot be unpacked"):
        download.unpack(tmp_path / "c.tar.gz", tmp_path / "cifar10")
    assert [path.name for path in tmp_path.iterdir()] == ["c.tar.gz"]


def test_unpacked_files_are_on_the_disk_before_the_folder_appears_and_its_name_before_the_end(tmp_path, monkeypatch):
    before, after, folder = set(), set(), tmp_path / "cifar10"

    def fsync(descriptor):
        (after if folder.exists() else before).add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", fsync)
    (tmp_path / "c.tar.gz").write_bytes(archive({"cifar/a": CONTENT, "cifar/b": b"b"}))
    download.unpack(tmp_path / "c.tar.gz", folder)
    assert {path.name for path in folder.iterdir() if path.stat().st_ino in before} == {"a", "b"}
    if os.name != "nt":  # which cannot sync a folder
        assert after == {tmp_path.stat().st_ino}


def test_files_are_fetched_one_by_one(server, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for part, number in (("train", 8), ("t10k", 4)):
        server.files[f"{part}-images-idx3-ubyte.gz"] = idx_bytes(rng.integers(0, 256, (number, 4, 5), dtype=np.uint8))
        server.files[f"{part}-labels-idx1-ubyte.gz"] = idx_bytes(np.arange(number, dtype=np.uint8) % 2)
    sums = {name: (md5(content), len(content)) for name, content in server.files.items() if name != "file"}
    source = replace(download.SETS["fashion-mnist"], url=server.url, files=sums)
    monkeypatch.setitem(download.SETS, "fashion-mnist", source)
    loaded = data.load(download.fetch("fashion-mnist", tmp_path))
    assert (len(loaded.train), len(loaded.test)) == (8, 4)
    assert len(loaded.train.classes) == 10
    assert loaded.test.classes[:2] == ["T-shirt/top", "Trouser"]


def test_only_known_data_sets_are_fetched(tmp_path):
    with pytest.raises(DataError, match="expected cifar10, cifar100, fashion-mnist, got imagenet"):
        download.fetch("imagenet", tmp_path)
