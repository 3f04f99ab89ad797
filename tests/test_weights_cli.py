"""predict and export with the files of others, as a user types them."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from pictures import colour, small_network, write_class_folders
from PIL import Image
from torchvision_import import import_torchvision

from alexnet_np import data, metrics, models, runs, weights
from alexnet_np.cli import main


@pytest.fixture(scope="module")
def goldfish(tmp_path_factory):
    """torchvision's network, saved by torch; it sees a goldfish everywhere, and a tench in second place."""
    with torch.device("meta"):
        net = import_torchvision().models.alexnet()
    net = net.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.classifier[6].bias[:2] = torch.tensor([5.0, 10.0])
    path = tmp_path_factory.mktemp("weights") / "goldfish.pth"
    torch.save(net.state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def picture(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(colour("red", np.random.default_rng(0))).save("red.png")


def fails(capsys, *argv):
    assert main([str(argument) for argument in argv]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


def test_predict_knows_imagenets_names(goldfish, capsys):
    assert main(["predict", "--weights", str(goldfish), "red.png"]) == 0
    name, first, second, *_ = capsys.readouterr().out.splitlines()
    assert (name, first.split()[-1], second.split()[-1]) == ("red.png", "goldfish", "tench")


def test_evaluate_says_that_it_assumes_imagenets_names(goldfish, capsys):
    for name in ("goldfish", "tench"):
        Path("fish", name).mkdir(parents=True)
        shutil.copy("red.png", Path("fish", name))
    command = ["evaluate", "--weights", str(goldfish), "--data", "fish"]
    assert main([*command, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["top1"], result["top5"], result["classes_matched_by"]) == (0.5, 1, "name")
    assert result["assumed"]["classes"] == "ImageNet's names, in torchvision's order"
    assert main(command) == 0
    assert "classes: ImageNet's names, in torchvision's order" in capsys.readouterr().err


def test_the_names_are_torchvisions():
    names = import_torchvision().models.AlexNet_Weights.IMAGENET1K_V1.meta["categories"]
    path = Path(models.__file__).with_name("imagenet_classes.txt")
    assert path.read_text("utf-8").splitlines() == list(names)


def test_predict_takes_names_from_a_file(goldfish, capsys):
    Path("names.txt").write_text("".join(f"größe {number}\n" for number in range(1000)), "utf-8")
    command = ["predict", "--weights", str(goldfish), "--classes", "names.txt", "--json", "red.png"]
    assert main(command) == 0
    assert [guess["class"] for guess in json.loads(capsys.readouterr().out)[0]["top"]][:2] == ["größe 1", "größe 0"]

    Path("names.txt").write_text("one\ntwo\n")
    assert "--classes: expected 1000 lines, one for each class, got 2" in fails(capsys, *command)
    Path("names.txt").write_bytes(b"\xff\n")
    assert "--classes: names.txt: expected text in UTF-8" in fails(capsys, *command)
    Path("names.txt").unlink()
    assert "No such file or directory: 'names.txt'" in fails(capsys, *command)


def test_files_that_are_no_weights_meet_a_sentence(capsys):
    Path("net.pth").write_bytes(b"\x80\x04.")
    assert "net.pth is not a file of weights: expected safetensors, torch's .pth" in fails(
        capsys, "predict", "--weights", "net.pth", "red.png"
    )
    torch.save({"a": torch.ones(2)}, "net.pth")
    assert "weights: net.pth holds no AlexNet: there is no classifier.6.bias in it" in fails(
        capsys, "predict", "--weights", "net.pth", "red.png"
    )

    state = {"classifier.6.bias": torch.ones(2, 2)}
    torch.save(state, "net.pth")
    assert "weights: net.pth holds no AlexNet: expected a bias at its end, got an array of shape (2, 2)" in fails(
        capsys, "predict", "--weights", "net.pth", "red.png"
    )


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of a small network, as train leaves it."""
    monkeypatch.setattr(models, "alexnet", small_network)
    folder = write_class_folders(tmp_path / "colours", 5)
    assert main(["train", "--data", str(folder), "--size", "70", "--epochs", "1", "--out", "runs/colours"]) == 0
    return Path("runs/colours")


def test_export_writes_what_onnx_runtime_runs(run, capsys):
    capsys.readouterr()
    assert main(["export", "net.onnx"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"net.onnx: Network for 3 classes, from {run}"
    assert lines[2] == "as (N, 3, 70, 70), channels first"

    trained = runs.open_trained(run)
    images = np.stack([data.images.read("red.png")])
    prepared = trained.preparation.normalise(np.stack([trained.preparation.for_testing(image) for image in images]))
    session = onnxruntime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"images": np.ascontiguousarray(prepared.transpose(0, 3, 1, 2))})
    expected = metrics.probabilities(trained.net, prepared)
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(), expected, rtol=1e-4)


def test_export_converts_weights(run, capsys):
    capsys.readouterr()
    for name in ("net.weights.h5", "net.safetensors"):
        assert main(["export", name, "--weights", str(run)]) == 0
        net = small_network(seed=5)
        weights.load(net, name)
        expected = runs.open_trained(run).net.state_dict()
        assert all(np.array_equal(net.state_dict()[key], array) for key, array in expected.items())
    capsys.readouterr()
    assert "expected a name that ends in .safetensors, .weights.h5, .keras, got net.pth" in fails(
        capsys, "export", "net.pth"
    )
    assert "expected alexnet_keras, a Keras model, got Network" in fails(capsys, "export", "net.keras")
    for name in ("nowhere/net.safetensors", "nowhere/net.weights.h5", "nowhere/net.onnx"):
        assert f"weights: {name} cannot be written" in fails(capsys, "export", name)
    shutil.rmtree(run)
    assert "there is no run in runs/ yet" in fails(capsys, "export", "net.onnx")
