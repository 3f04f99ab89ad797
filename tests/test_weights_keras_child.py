"""The process that reads Keras's files: what it does is its own affair, and what it sends is not trusted."""

import json
import struct
import sys
import tempfile
from multiprocessing import spawn

import numpy as np
import pytest
from pictures import small_network

from alexnet_np import weights
from alexnet_np.weights import keras_child


@pytest.fixture
def path(tmp_path):
    net = small_network()
    weights.save(net, tmp_path / "a.weights.h5")
    return tmp_path / "a.weights.h5"


def test_weights_come_back_to_the_bit(path):
    expected = weights.to_keras(small_network())
    got = weights.read(path)
    assert [array.dtype for array in got] == [np.float32] * len(expected)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def answer(text, numbers=b""):
    text = text if isinstance(text, str) else json.dumps(text)
    content = struct.pack("<Q", len(text)) + text.encode() + numbers
    return f"import os; os.write(1, {content!r})"


def of(arrays, **more):
    return {"config": None, "arrays": arrays, "error": None, "other_layers": False, **more}


CRASHES = {
    "crashes": ("import os; os.kill(os.getpid(), 11)", r"h5py crashed while it read the file \(signal 11\)"),
    "is killed by its limit": (
        "import os, signal; os.kill(os.getpid(), signal.SIGXCPU)",
        "h5py takes too long to read it",
    ),
    "ends": ("import sys; sys.exit('\x1b[31mno \\n such thing')", r"ended with exit code 1:  such thing"),
    "says nothing": ("", "ended with exit code 0"),
    "stops on the way": (answer(of([["<f4", [2, 2]]]), b"1234"), "ended with exit code 0"),
    "announces too much": (r"import os; os.write(1, b'\xff' * 8)", "answers with 18,446,744,073,709,551,615 bytes"),
    "answers no JSON": (answer("{"), "Expecting property name"),
    "answers something else": (answer({"arrays": 3}), "the answer of the process that reads it: expected config"),
    "sends other dtypes": (answer(of([["O", [1]]]), b"12345678"), "more numbers than the file has"),
    "sends too much": (answer(of([["<f4", [10**12]]])), "more numbers than the file has"),
    "sends less than nothing": (answer(of([["<f4", [-1]]])), "more numbers than the file has"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("what", CRASHES)
def test_whatever_the_process_does_there_is_a_sentence(path, monkeypatch, what):
    code, message = CRASHES[what]
    monkeypatch.setattr(keras_child, "CODE", code)
    with pytest.raises(
        ValueError, match=rf"weights: .*a\.weights\.h5 cannot be read as Keras's HDF5 .*{message}"
    ) as caught:
        weights.read(path)
    assert str(caught.value).isprintable()


def test_a_process_that_never_ends_is_ended(path, monkeypatch):
    monkeypatch.setattr(keras_child, "CODE", "import time; time.sleep(1000)")
    monkeypatch.setattr(keras_child, "MAX_WAIT", 0.2)
    with pytest.raises(ValueError, match="h5py takes too long to read it"):
        weights.read(path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not bound the address space")
@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("while True: pass", "h5py takes too long to read it"),
        ("bytearray(3 * 10**9)", "MemoryError"),
    ],
)
def test_its_time_and_memory_are_bounded(path, monkeypatch, code, message):
    limited = "from alexnet_np.weights import keras_child; keras_child._limit(keras_child.MAX_MEMORY, 1)\n"
    monkeypatch.setattr(keras_child, "CODE", limited + code)
    with pytest.raises(ValueError, match=message):
        weights.read(path)


def test_packages_are_those_of_this_process(path, tmp_path, monkeypatch):
    """Whatever lies in the current folder: a stranger's folder may hold a numpy.py."""
    for name in ("numpy", "h5py", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken from the current folder')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder])
    assert len(weights.read("a.weights.h5")) == 6


@pytest.mark.parametrize("changes", [{"frozen": True}, {"executable": ""}])
def test_a_program_without_an_interpreter_says_so(path, monkeypatch, changes):
    """It would start itself again."""
    for name, value in changes.items():
        monkeypatch.setattr(sys, name, value, raising=False)
    monkeypatch.setattr(spawn, "get_executable", lambda: sys.executable)
    with pytest.raises(ValueError, match="has no Python interpreter to start one"):
        weights.read(path)


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use stays there")
def test_it_needs_no_folders_but_that_of_the_file(path, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    assert len(weights.read(path)) == 6
