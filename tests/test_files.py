"""Files that appear whole or not at all, and are on the disk when they do."""

import errno
import os
import stat
import sys

import pytest

from alexnet_np.files import written_whole


def _write_half(path):
    path.write_text("half")
    raise OSError("disk full")


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(OSError, match="disk full"), written_whole(path) as unfinished:
        _write_half(unfinished)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with written_whole(path) as unfinished:
        unfinished.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_with_the_name_of_the_file(tmp_path):
    with pytest.raises(OSError, match=r"No space left on device: '.*a\.json'"), written_whole(tmp_path / "a.json"):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
def test_what_is_no_file_is_not_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with (
            pytest.raises(FileExistsError, match=f"{name} is a folder, a device or a pipe"),
            written_whole(tmp_path / name),
        ):
            pass
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_what_a_killed_process_left_is_cleared(tmp_path):
    (tmp_path / "a.part").mkdir()
    for name in ("a", ".tmpAbC"):
        (tmp_path / "a.part" / name).write_text("half")
    with written_whole(tmp_path / "a") as unfinished:
        assert unfinished.read_text() == ""
        unfinished.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_others_may_read_it_where_the_umask_lets_them(tmp_path):
    before = os.umask(0o027)
    try:
        with written_whole(tmp_path / "a") as unfinished:
            unfinished.write_text("new")
            unfinished.chmod(0o600)  # as safetensors does
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot sync a folder")
def test_bytes_are_on_the_disk_before_the_name_and_the_name_before_the_end(tmp_path, monkeypatch):
    """A loss of power cannot be tested; the order of the calls that it depends on can."""
    calls = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def note_replace(old, new):
        calls.append("rename")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    with written_whole(tmp_path / "a") as unfinished:
        unfinished.write_text("new")
    assert calls == ["file", "rename", "folder"]
