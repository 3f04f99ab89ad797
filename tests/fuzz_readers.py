"""The readers that tests/fuzz.py tries, each with a file that is right and the changes that reach into it."""

import argparse
import gzip
import io
import json
import random
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from fuzz_changes import changed_bytes, changed_value, copied, nested
from pictures import idx_bytes, small_network
from small_training import RECIPE, new_trainer, train

from alexnet_np import checkpoints, data, layers, models, runs, weights
from alexnet_np.cli import config, parser
from alexnet_np.data import dataset, idx, mean_image, shards
from alexnet_np.weights import safetensors_files

# JSON cannot be written with half of a character or 4,000 digits: those cases are cut.
sys.set_int_max_str_digits(0)


@dataclass(frozen=True)
class Reader:
    """``run`` changes a file in a folder and reads it. What takes ``cost`` times as long as others runs less often."""

    name: str
    run: Callable[[random.Random, Path], object]
    cost: int = 1


def readers(folder: Path) -> list[Reader]:
    """All readers, each with a folder of its own in ``folder``, where what they begin with is written."""
    made = [
        Reader("names", _of_bytes("classes.txt", b"fox\nh\xc3\xa4re\nowl\n", dataset.read_names)),
        Reader("mean image", _of_bytes("mean.npy", _npy(), lambda path: mean_image.read(str(path), 6))),
        Reader("idx", _of_bytes("a-ubyte", _idx(), idx.read)),
        Reader("idx, compressed", _idx_compressed),
        Reader("idx folder", _idx_folder),
        Reader("cifar", _cifar),
        Reader("shard", _shard),
        Reader("index of shards", _index),
        Reader("settings", _settings),
        Reader("config", _config),
        Reader("skipped", _of_bytes("skipped.csv", b"picture,reason\na.png,cut\nb.png,no\n", _read_skipped)),
        Reader("safetensors", _safetensors),
        Reader("description", _description),
        Reader("pth", _pth(folder, zipped=True)),
        Reader("pth, stream", _pth(folder, zipped=False)),
        Reader("checkpoint", _checkpoint(), cost=3),
        Reader("onnx", _onnx(folder)),
        *(Reader(f"keras {form}", run, cost=20) for form, run in _keras(folder).items()),
    ]
    for reader in made:
        (folder / reader.name).mkdir()
    return made


def remove(folder: Path) -> None:
    shutil.rmtree(folder)


def _of_bytes(name: str, content: bytes, read: Callable[[Path], object]) -> Callable[[random.Random, Path], object]:
    def run(rng: random.Random, folder: Path) -> object:
        path = folder / name
        path.write_bytes(changed_bytes(rng, content))
        return read(path)

    return run


def _json(rng: random.Random, value: Any) -> str:
    """A value changed, as JSON."""
    return nested(rng) if rng.random() < 0.02 else json.dumps(changed_value(rng, value))


# ---- data


def _npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.full((6, 6, 3), 7, np.float32))
    return file.getvalue()


def _idx() -> bytes:
    return idx_bytes(np.arange(60, dtype=np.uint8).reshape(5, 4, 3))


def _idx_compressed(rng: random.Random, folder: Path) -> object:
    path = folder / "a-ubyte"
    content = changed_bytes(rng, _idx() + bytes(rng.choice((0, 0, 10**6))))
    content = gzip.compress(content, 1)
    path.write_bytes(changed_bytes(rng, content) if rng.random() < 0.5 else content)
    return idx.read(path)


def _idx_folder(rng: random.Random, folder: Path) -> object:
    contents = {
        "train-images-idx3-ubyte": idx_bytes(np.zeros((4, 3, 3), np.uint8)),
        "train-labels-idx1-ubyte": idx_bytes(np.array([0, 1, 0, 1], np.uint8)),
        "classes.txt": b"a\nb\n",
    }
    return _data(rng, folder, contents)


def _cifar(rng: random.Random, folder: Path) -> object:
    record = b"\0" + bytes(3072)
    contents = {f"data_batch_{k}.bin": record * 2 for k in range(1, 6)}
    return _data(rng, folder, contents | {"test_batch.bin": record, "batches.meta.txt": b"cat\ndog\n\n"})


def _data(rng: random.Random, folder: Path, contents: dict[str, bytes]) -> object:
    changed = rng.choice(sorted(contents))
    for name, content in contents.items():
        (folder / name).write_bytes(changed_bytes(rng, content) if name == changed else content)
    return data.load(folder)


def _tar(rng: random.Random) -> bytes:
    file = io.BytesIO()
    form = rng.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for number in range(3):
            name = f"{number}" if form == tarfile.USTAR_FORMAT else "long" * 40 + str(number)
            for suffix, content in ((".png", b"png" * 9), (".cls", b"%d" % (number % 2))):
                info = tarfile.TarInfo(name + suffix)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def _with_checksums(content: bytes) -> bytes:
    """The headers of a tar file with the checksums that they have after a change."""
    blocks = bytearray(content)
    for start in range(0, len(blocks) - 511, 512):
        if blocks[start + 257 : start + 262] == b"ustar":
            blocks[start + 148 : start + 156] = b" " * 8
            blocks[start + 148 : start + 156] = f"{sum(blocks[start : start + 512]):06o}\0 ".encode()
    return bytes(blocks)


def _shard(rng: random.Random, folder: Path) -> object:
    path = folder / "train-0.tar"
    (folder / shards.INDEX).unlink(missing_ok=True)
    content = _tar(rng)
    for _ in range(rng.randint(1, 3)):
        header = 512 * rng.randrange(len(content) // 512)
        start, end = rng.choice(((0, 100), (124, 136), (156, 157), (257, 265), (345, 500), (0, 512)))
        changed = changed_bytes(rng, content[header + start : header + end])[: end - start].ljust(end - start, b"\0")
        content = content[: header + start] + changed + content[header + end :]
    content = _with_checksums(content)
    path.write_bytes(changed_bytes(rng, content) if rng.random() < 0.2 else content)
    opened = shards.open_shards([path])
    return [opened.content(index) for index in range(len(opened))]


def _index(rng: random.Random, folder: Path) -> object:
    path = folder / "train-0.tar"
    path.write_bytes(_tar(random.Random(0)))
    (folder / shards.INDEX).unlink(missing_ok=True)
    shards.open_shards([path])
    index = json.loads((folder / shards.INDEX).read_text())
    (folder / shards.INDEX).write_text(_json(rng, index))
    opened = shards.open_shards([path])
    return [opened.content(index) for index in range(len(opened))]


# ---- runs


def _settings(rng: random.Random, folder: Path) -> object:
    settings = runs.Settings("alexnet_2012", "code", ["a", "b"], "digits", data.Preparation.photographs(64))
    text = _json(rng, {**asdict(settings), "repeat": "", "made_with": {"python": "3"}})
    path = folder / runs.SETTINGS
    path.write_bytes(changed_bytes(rng, text.encode()) if rng.random() < 0.1 else text.encode())
    return runs.Settings.read(folder).describe()


def _read_skipped(path: Path) -> object:
    return runs.read_skipped(path.parent)


CONFIG = {"epochs": 3, "lr": 0.1, "data": "digits", "device": "cpu", "tensorboard": False, "freeze": "features"}


def _train_parser() -> argparse.ArgumentParser:
    return parser().parse_args(["train"]).parser


def _config(rng: random.Random, folder: Path) -> object:
    values = changed_value(rng, CONFIG)
    lines = [f"{key} = {_toml(value)}" for key, value in values.items()] if isinstance(values, dict) else ["x"]
    text = "\n".join(lines).encode(errors="surrogatepass")
    if rng.random() < 0.3:
        text = changed_bytes(rng, text)
    if rng.random() < 0.05:
        text += rng.choice((b"\nx = " + b"[" * 9000, b"\n" + b"a." * 9000 + b"a = 1", b"\n[" + b"a." * 9000 + b"a]"))
    (folder / "a.toml").write_bytes(text)
    return config.read(folder / "a.toml", _train_parser())


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_toml(item)}" for key, item in value.items()) + "}"
    return "[" + ", ".join(map(_toml, value)) + "]" if isinstance(value, list) else json.dumps(value).lower()


def _checkpoint() -> Callable[[random.Random, Path], object]:
    recipes = (RECIPE, replace(RECIPE, schedule="plateau", ema=0.9), replace(RECIPE, schedule="step"))
    trainers = [(train(new_trainer(recipe), 6).checkpoint(), new_trainer(recipe)) for recipe in recipes]

    def run(rng: random.Random, folder: Path) -> object:
        path = folder / "00000006.safetensors"
        whole, other = rng.choice(trainers)
        state, tensors = copied(whole.state), dict(whole.tensors)
        part = rng.choice(("net", "velocity", "average", "data", "state", "state", "state"))
        if part == "state":
            state = changed_value(rng, state)
        else:
            if part == "data":
                state["data"] = dict.fromkeys(state["data"], "another")
            name = rng.choice([name for name in sorted(tensors) if name.startswith(part)] or sorted(tensors))
            array = tensors[name]
            odd = rng.choice((array[:1], array, np.zeros(()), array[..., None], array[None], np.zeros(0)))
            with np.errstate(all="ignore"):
                tensors[name] = np.array(odd, rng.choice((array.dtype, np.int8, np.float16, bool)), order="C")
            if rng.random() < 0.3:
                del tensors[name]
        checkpoints.write(path, checkpoints.Checkpoint(state, tensors))
        if rng.random() < 0.3:
            path.write_bytes(changed_bytes(rng, path.read_bytes()))
        other.resume(checkpoints.read(path))
        return other.checkpoint()

    return run


# ---- weights


def _open(path: Path) -> object:
    net = small_network(init="zeros")
    description = weights.read_description(path)
    weights.load(net, path)
    return description


def _described() -> weights.Description:
    preparation = data.Preparation.figures(4).__class__(4, 4, True, (0.5,) * 3, (0.5,) * 3)
    return weights.Description("alexnet", None, ["a", "b", "c"], preparation)


def _safetensors(rng: random.Random, folder: Path) -> object:
    path = folder / "a.safetensors"
    weights.save(small_network(), path)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, numbers = json.loads(content[8 : 8 + length]), content[8 + length :]
    if rng.random() < 0.8:
        text = _json(rng, header).encode()
        content = len(text).to_bytes(8, "little") + text + numbers
    if rng.random() < 0.3:
        content = changed_bytes(rng, content)
    path.write_bytes(content)
    return _open(path)


def _description(rng: random.Random, folder: Path) -> object:
    path = folder / "a.safetensors"
    (text,) = _described().metadata().values()
    safetensors_files.write(path, {"a": np.zeros(1)}, {"alexnet_np": _json(rng, json.loads(text))})
    return weights.read_description(path)


def _pth(folder: Path, zipped: bool) -> Callable[[random.Random, Path], object]:
    import torch

    state = {name: torch.from_numpy(array.copy()) for name, array in weights.to_torch(small_network()).items()}
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    content = file.getvalue()

    def run(rng: random.Random, folder: Path) -> object:
        path = folder / "a.pth"
        whole = content
        if zipped and rng.random() < 0.8:
            whole = _zip_changed(rng, content, "data.pkl")
        elif not zipped:
            place = rng.randrange(20, 1500)
            whole = content[:place] + changed_bytes(rng, content[place : place + 50]) + content[place + 50 :]
        path.write_bytes(changed_bytes(rng, whole) if rng.random() < 0.3 else whole)
        return _open(path)

    return run


def _zip_changed(rng: random.Random, content: bytes, ending: str) -> bytes:
    """A zip file with a member changed, and checksums that are right."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            inside = old.read(name)
            if name.endswith(ending):
                place = rng.randrange(len(inside))
                inside = inside[:place] + changed_bytes(rng, inside[place : place + 60]) + inside[place + 60 :]
            new.writestr(name, inside)
    return file.getvalue()


def _onnx(folder: Path) -> Callable[[random.Random, Path], object]:
    path = folder / "whole.onnx"
    net = layers.Sequential(layers.Conv2d(3, 2, 3), layers.ReLU(), layers.Flatten(), layers.Linear(8, 3))
    weights.export_onnx(net, path, (4, 4), description=_described())
    content = path.read_bytes()

    def run(rng: random.Random, folder: Path) -> object:
        path = folder / "a.onnx"
        path.write_bytes(changed_bytes(rng, content))
        return weights.read_description(path)

    return run


def _keras(folder: Path) -> dict[str, Callable[[random.Random, Path], object]]:
    """For each form of file."""
    net = models.Network(
        conv2d=layers.Conv2d(3, 5, 5, stride=3),
        relu=layers.ReLU(),
        flatten=layers.Flatten(),
        dense=layers.Linear(80, 3),
        softmax=layers.Softmax(),
    )
    net.keras_input_shape = (14, 14, 3)  # type: ignore[attr-defined]
    weights.save(net, folder / "a.weights.h5")
    weights.save(net, folder / "a.keras")
    with zipfile.ZipFile(folder / "a.keras") as archive:
        description = json.loads(archive.read("config.json"))
    with h5py.File(folder / "a.weights.h5") as new, h5py.File(folder / "a.h5", "w") as old:
        old.attrs["model_config"] = json.dumps(description)
        old.create_group("model_weights").attrs["layer_names"] = [b"conv2d", b"dense"]
        for name in ("conv2d", "dense"):
            group = old.create_group(f"model_weights/{name}")
            group.attrs["weight_names"] = [f"{name}/kernel:0".encode(), f"{name}/bias:0".encode()]
            for number, kind in enumerate(("kernel:0", "bias:0")):
                group[f"{name}/{kind}"] = new[f"layers/{name}/vars/{number}"][()]

    def changed(form: str, rng: random.Random, content: bytes) -> bytes:
        if form != ".keras" or rng.random() < 0.2:
            return changed_bytes(rng, content)
        if rng.random() < 0.4:
            return _zip_changed(rng, content, "model.weights.h5")
        file = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
            for name in old.namelist():
                text = _json(rng, description).encode() if name == "config.json" else old.read(name)
                new.writestr(name, text)
        return file.getvalue()

    def reading(form: str) -> Callable[[random.Random, Path], object]:
        content = (folder / f"a{form}").read_bytes()

        def run(rng: random.Random, folder: Path) -> object:
            path = folder / f"a{form}"
            path.write_bytes(changed(form, rng, content))
            return weights.load(net, path)

        return run

    return {form: reading(form) for form in (".weights.h5", ".h5", ".keras")}
