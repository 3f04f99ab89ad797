"""Damaged and hostile files: the short form of tests/fuzz.py, always the same cases, and the worst of small files."""

import gzip
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).parent
MEMORY, SECONDS = 1.0, 10.0  # gigabytes, and seconds of a core, for any file


@pytest.mark.skipif(os.name == "nt", reason="it needs SIGALRM")
def test_no_reader_is_surprised():
    result = subprocess.run(
        [sys.executable, "fuzz.py", "--cases", "40"],
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-20_000:] + result.stderr[-5000:]
    counts = json.loads(result.stdout.splitlines()[-1])
    assert len(counts) == 20
    assert all(count["refused"] for name, count in counts.items() if name != "index of shards")  # is written again
    assert sum(count["read"] for count in counts.values()) > 150  # changes that are none for the reader


def write_gzip_bomb(folder):
    header = b"\0\0\x08\x03" + (1).to_bytes(4, "big") * 3
    content = gzip.compress(header, 1) + gzip.compress(bytes(10**7), 1) * 200  # 2 GB
    (folder / "train-images-idx3-ubyte.gz").write_bytes(content)
    (folder / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\1\0")


def write_npy(folder):
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (100000, 100000, 3), }".ljust(117) + "\n"
    (folder / "mean.npy").write_bytes(b"\x93NUMPY\1\0\x76\0" + header.encode())


def write_keras(folder):
    import h5py

    with h5py.File(folder / "a.weights.h5", "w") as h5:
        group = h5.create_group("layers/conv2d/vars")
        shape = (11, 11, 3, 10**6)
        group.create_dataset("0", shape, np.float32, chunks=(11, 11, 3, 100), compression="gzip", fillvalue=1)


def write_zip(folder):
    with zipfile.ZipFile(folder / "a.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("config.json", "model.weights.h5"):
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(b" " * 10**7)


def write_safetensors(text):
    def write(folder):
        (folder / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)

    return write


LISTS = b"[" + b"[]," * 7_900_000 + b"[]]"


def write_huge_image(folder):
    from tarfile import GNU_FORMAT, TarInfo

    with (folder / "train-0.tar").open("wb") as file:
        for name, size in (("1.cls", 1), ("1.png", 18 * 10**9)):
            info = TarInfo(name)
            info.size = size
            file.write(info.tobuf(GNU_FORMAT) + b"1".ljust(512, b"\0"))
        file.truncate(20 * 10**9)


def write_index(folder):
    (folder / "train-0.tar").write_bytes(bytes(1024))
    (folder / "alexnet-np-index.json").write_bytes(b'{"train-0.tar":' + LISTS + b"}")


def sparse(name, start=b""):
    """A file of 20 GB, of which nearly nothing is stored."""

    def write(folder):
        with (folder / name).open("wb") as file:
            file.write(start)
            file.truncate(20 * 10**9)

    return write


LOAD = "data.load('.')"
ATTACKS = {
    "a gzip file of more than it says": (write_gzip_bomb, LOAD),
    "a mean image of 240 GB": (write_npy, "mean_image.read('mean.npy', 256)"),
    "a mean image in a file of 20 GB": (sparse("mean.npy"), "mean_image.read('mean.npy', 256)"),
    "a Keras file whose weights are compressed": (write_keras, "weights.read('a.weights.h5')"),
    "a Keras archive that is compressed": (write_zip, "weights.read('a.keras')"),
    "a header of lists in lists": (write_safetensors(b'{"a":' + b"[" * 20_000_000), "weights.read('a.safetensors')"),
    "a header of empty lists": (write_safetensors(b'{"a":' + LISTS + b"}"), "weights.read('a.safetensors')"),
    "a description of empty lists": (
        write_safetensors(b'{"__metadata__":{"alexnet_np":"' + LISTS + b'"}}'),
        "weights.read_description('a.safetensors')",
    ),
    "an index of empty lists": (write_index, LOAD),
    "settings of empty lists": (
        lambda folder: (folder / "run.json").write_bytes(LISTS[:19_999_999]),
        "runs.Settings.read(Path('.'))",
    ),
    "names without an end": (sparse("names.txt"), "dataset.read_names('names.txt')"),
    "CIFAR's names without an end": (sparse("batches.meta.txt"), "dataset.read_names('batches.meta.txt')"),
    "settings without an end": (sparse("run.json", b"{"), "runs.Settings.read(Path('.'))"),
    "a checkpoint's header": (
        sparse("0.safetensors", (90 * 10**6).to_bytes(8, "little") + b"{"),
        "checkpoints.read('0.safetensors')",
    ),
    "a device": (lambda folder: None, "dataset.read_names('/dev/zero')"),
    "a pipe": (lambda folder: os.mkfifo(folder / "pipe"), "dataset.read_names('pipe')"),
    "a pipe as settings": (lambda folder: os.mkfifo(folder / "a.toml"), "config.read(Path('a.toml'), None)"),
    "a pipe as images": (
        lambda folder: [os.mkfifo(folder / f"train-{name}-ubyte") for name in ("images-idx3", "labels-idx1")],
        LOAD,
    ),
    "a pipe as a shard": (lambda folder: os.mkfifo(folder / "train-0.tar"), LOAD),
    "an image of 18 GB": (write_huge_image, LOAD),
    "a pipe as a mean image": (lambda folder: os.mkfifo(folder / "mean.npy"), "mean_image.read('mean.npy', 256)"),
}

READ = """
import json, os, resource, sys, time
from pathlib import Path
from alexnet_np import checkpoints, data, runs, weights
from alexnet_np.cli import config
from alexnet_np.data import dataset, mean_image
kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
before = 0
for attack, reading in json.loads(sys.argv[1]).items():
    os.chdir(attack)
    try:
        exec(reading)
        message = "read"
    except (ValueError, OSError) as error:
        message = f"refused: {error}"
    os.chdir("..")
    used = [resource.getrusage(kind) for kind in kinds]
    seconds = sum(usage.ru_utime + usage.ru_stime for usage in used)
    # Its own ru_maxrss begins with that of the process that has started it.
    own = int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
    print(json.dumps([attack, message, max(own, used[1].ru_maxrss), seconds - before]), flush=True)
    before = seconds
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Of one process that reads all of them: the most memory that it has taken by then, and seconds of a core."""
    folder = tmp_path_factory.mktemp("attacks")
    for attack, (write, _) in ATTACKS.items():
        (folder / attack).mkdir()
        write(folder / attack)
    readings = json.dumps({attack: reading for attack, (_, reading) in ATTACKS.items()})
    command = [sys.executable, "-W", "error", "-c", READ, readings]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return {attack: used for attack, *used in map(json.loads, result.stdout.splitlines())}


@pytest.mark.skipif(sys.platform != "linux", reason="pipes, sparse files and what a process has used are Linux's here")
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_small_file_takes_little(results, attack):
    message, kilobytes, seconds = results[attack]
    assert message.startswith("refused: ")
    assert kilobytes < MEMORY * 10**6
    assert seconds < SECONDS  # of a core, not of a clock
