"""Weights away from their run's folder, as a user types it: moved, exported, fine-tuned, tested on other data."""

import base64
import json
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from pictures import COLOURS, colour, small_network, write_class_folders, write_idx
from PIL import Image

from alexnet_np import data, models, runs, training, weights
from alexnet_np.cli import main
from alexnet_np.data.mean_image import MeanImage
from alexnet_np.weights.safetensors_files import read_metadata

pytestmark = pytest.mark.usefixtures("small_and_elsewhere")

TRAIN = ["train", "--size", "64", "--epochs", "4", "--batch-size", "5", "--lr", "0.02"]


@pytest.fixture
def run(small_and_elsewhere, colours):
    assert main([*TRAIN, "--data", str(colours), "--out", "run"]) == 0
    Image.fromarray(colour("red", np.random.default_rng(9))).save("red.png")
    return Path("run")


@pytest.fixture
def run_with_mean_image(small_and_elsewhere, colours):
    """The mean image is gone after the training."""
    mean = np.random.default_rng(0).uniform(80, 160, (73, 73, 3)).astype(np.float32)
    np.save("mean.npy", mean)
    assert main([*TRAIN, "--data", str(colours), "--mean-image", "mean.npy", "--out", "run"]) == 0
    Path("mean.npy").unlink()
    Image.fromarray(colour("red", np.random.default_rng(9))).save("red.png")
    return Path("run")


def output(capsys, *argv):
    """What a command prints as JSON."""
    capsys.readouterr()
    assert main([*map(str, argv), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def fails(capsys, *argv):
    capsys.readouterr()
    assert main([str(argument) for argument in argv]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


def write_idx_with_names(folder, names):
    """IDX files of three classes with these names; how bright a picture is depends on its class."""
    labels = np.arange(15, dtype=np.uint8) % 3
    noise = np.random.default_rng(1).integers(0, 60, (15, 40, 40), dtype=np.uint8)
    write_idx(folder, "train", noise + 90 * labels[:, None, None], labels)
    (folder / "classes.txt").write_text("\n".join(names), "utf-8")


# ---- moved


@pytest.mark.parametrize("name", ["weights.safetensors", "best-epoch-*.safetensors", "exported.safetensors"])
@pytest.mark.parametrize("fixture", ["run", "run_with_mean_image"])
def test_a_file_that_was_moved_behaves_as_in_its_run(fixture, name, tmp_path, request, capsys):
    folder = request.getfixturevalue(fixture)
    others = write_class_folders(tmp_path / "others", 4)  # other images than the run's
    if name.startswith("exported"):
        assert main(["export", "run/exported.safetensors", "--weights", "run"]) == 0
    (path,) = folder.glob(name)
    before = [output(capsys, "predict", "--weights", path, "red.png")]
    before += [output(capsys, "evaluate", "--weights", path, "--data", others)]
    assert before[0][0]["assumed"] == {}
    assert {guess["class"] for guess in before[0][0]["top"]} == set(COLOURS)
    shutil.move(path, "mailed.safetensors")
    shutil.rmtree("run")
    after = [output(capsys, "predict", "--weights", "mailed.safetensors", "red.png")]
    after += [output(capsys, "evaluate", "--weights", "mailed.safetensors", "--data", others)]
    assert after[0] == before[0]
    assert after[1] == before[1] | {"weights": "mailed.safetensors"}


def test_torchvision_loads_what_describes_itself(run):
    from safetensors.torch import load_file

    state = load_file(run / "weights.safetensors")
    expected = runs.open_trained(run).net.torch_state_dict()
    assert all(np.array_equal(state[name].numpy(), array) for name, array in expected.items())
    assert read_metadata(run / "weights.safetensors")["format"] == "pt"


def test_a_file_in_the_folder_of_another_run_goes_by_its_own_description(run, tmp_path, capsys):
    other = write_class_folders(tmp_path / "others", 5)
    (other / "red").rename(other / "crimson")
    assert main([*TRAIN, "--data", str(other), "--out", "other"]) == 0
    shutil.copy("other/weights.safetensors", "run/guest.safetensors")
    (result,) = output(capsys, "predict", "--weights", "run/guest.safetensors", "red.png")
    assert {guess["class"] for guess in result["top"]} == {"blue", "green", "crimson"}
    assert "run/guest.safetensors is not of the run run: it goes by what it says itself" in result["notes"][0]
    assert "name the data to test it on" in fails(capsys, "evaluate", "--weights", "run/guest.safetensors")


def test_a_file_without_a_description_in_a_run_is_taken_for_the_runs_and_that_is_said(run, capsys):
    assert main(["export", "run/net.weights.h5", "--weights", "run"]) == 0
    (result,) = output(capsys, "predict", "--weights", "run/net.weights.h5", "red.png")
    assert result["top"] == output(capsys, "predict", "--weights", "run", "red.png")[0]["top"]
    assert result["notes"] == ["run/net.weights.h5 does not describe itself: taken for weights of the run run"]


def test_what_is_assumed_of_other_files_is_said(run, monkeypatch, capsys):
    """The classifier.6 of all networks here: the real one is asked for by its last layer."""
    monkeypatch.setattr(weights.layouts, "LAST_BIAS", "classifier.4.bias")
    state = small_network(3).torch_state_dict()
    torch.save({name: torch.from_numpy(array.copy()) for name, array in state.items()}, "net.pth")
    (result,) = output(capsys, "predict", "--weights", "net.pth", "red.png")
    assert result["assumed"] == {
        "model": "alexnet",
        "preparation": data.Preparation.photographs(224).in_words(),
        "classes": "numbers (--classes FILE names them)",
    }
    assert main(["predict", "--weights", "net.pth", "red.png"]) == 0
    err = capsys.readouterr().err
    assert "Note: Assumed, because net.pth does not say: model: alexnet; preparation: RGB; " in err
    (result,) = output(capsys, "predict", "--weights", "net.pth", "--model", "alexnet", "red.png")
    assert "model" not in result["assumed"]
    assert main(["export", "copy.safetensors", "--weights", "net.pth"]) == 0
    assert "It does not say how images are prepared" in capsys.readouterr().out
    assert weights.read_description("copy.safetensors") is None  # an assumption does not become a fact


@pytest.mark.parametrize("command", [["predict", "red.png"], ["evaluate"], ["export", "net.onnx"]])
@pytest.mark.parametrize("where", ["run", "run/weights.safetensors", "moved.safetensors"])
def test_a_model_that_contradicts_is_refused(run, command, where, capsys):
    shutil.copy("run/weights.safetensors", "moved.safetensors")
    command = [*command, "--weights", where]
    expected = f"--model alexnet_2012: {where} says that it is of alexnet: leave out --model"
    assert expected in fails(capsys, *command, "--model", "alexnet_2012")
    expected = "--variant paper: expected alexnet_2012, which has variants, got alexnet"
    assert expected in fails(capsys, *command, "--variant", "paper")


def test_a_description_that_does_not_fit_its_numbers_is_refused(run, monkeypatch, capsys):
    net = runs.open_trained(run).net
    description = runs.description_of(run)
    described = description.metadata()
    odd_size = json.loads(described["alexnet_np"])["preparation"] | {"size": 16}
    for changes, message in (
        ({"classes": ["a", "b", "c", "d", "e"]}, "names 5 classes, but no tensor in it has so many rows"),
        ({"classes": ["a"] * 8}, "expected shape"),
        ({"model": "vgg11"}, "model: expected alexnet, alexnet_keras, alexnet_2012, got 'vgg11'"),
        ({"preparation": odd_size}, "describes images of 16x16 pixels, which do not fit alexnet"),
        ({"format": 9}, "of a newer version of alexnet-np"),
    ):
        text = json.dumps(json.loads(described["alexnet_np"]) | changes)
        weights.safetensors_files.write(Path("a.safetensors"), net.torch_state_dict(), {"alexnet_np": text})
        assert message in fails(capsys, "predict", "--weights", "a.safetensors", "red.png")


def test_weights_that_are_no_numbers_are_refused(run, capsys):
    net = runs.open_trained(run).net
    net.parameters()[0].data[0] = np.nan
    weights.save(net, "nan.safetensors", runs.description_of(run))
    assert "nan.safetensors: features.0.weight: expected finite numbers" in fails(
        capsys, "predict", "--weights", "nan.safetensors", "red.png"
    )


def test_a_stopped_run_has_its_mean_image_and_refuses_another(colours, monkeypatch, capsys):
    np.save("mean.npy", np.full((73, 73, 3), 100, np.float32))
    keep = runs.checkpoints.remove_ring
    monkeypatch.setattr(runs.checkpoints, "remove_ring", lambda folder: None)
    train = [*TRAIN, "--data", str(colours), "--mean-image", "mean.npy", "--checkpoint-minutes", "0", "--out", "run"]
    assert main(train) == 0
    monkeypatch.setattr(runs.checkpoints, "remove_ring", keep)
    Path("run/weights.safetensors").unlink()
    before = output(capsys, "evaluate", "--weights", "run")
    Path("mean.npy").unlink()
    assert output(capsys, "evaluate", "--weights", "run") == before
    settings = runs.Settings.read(Path("run"))
    other = MeanImage.of(np.full((73, 73, 3), 101, np.float32))
    replace(settings, preparation=replace(settings.preparation, mean_image=other)).write(Path("run"), "cpu", {})
    assert "prepared in another way than when the run began" in fails(capsys, "evaluate", "--weights", "run")


def test_what_is_assumed_of_keras_files(run, tmp_path):
    """A whole model says its layers and the size of its images; a .weights.h5 file neither."""
    net = models.alexnet_keras(num_classes=2, init="zeros")
    weights.save(net, "a.weights.h5")
    trained = runs.open_trained("a.weights.h5")
    assert isinstance(trained.net, models.AlexNetKeras)
    assert trained.assumed["model"] == "alexnet_keras"
    assert trained.assumed["layers"] == "activations, strides and padding as alexnet_keras has them"
    assert "model" not in runs.open_trained("a.weights.h5", "alexnet_keras").assumed
    net.keras_input_shape = (230, 230, 3)
    weights.save(net, "a.keras")
    trained = runs.open_trained("a.keras")
    assert (trained.preparation.size, list(trained.assumed)) == (230, ["preparation"])
    net.keras_input_shape = (228, 230, 3)
    weights.save(net, "a.keras")
    with pytest.raises(ValueError, match=r"a.keras: expected square images of 3 colours .*, got \(228, 230, 3\)"):
        runs.open_trained("a.keras")


# ---- exported


@pytest.mark.parametrize("fixture", ["run", "run_with_mean_image"])
def test_an_onnx_file_alone_gives_the_same_probabilities(fixture, request, capsys):
    """By what it says of itself: Pillow and ONNX Runtime, nothing of this package."""
    request.getfixturevalue(fixture)
    (expected,) = output(capsys, "predict", "--weights", "run", "red.png")
    assert expected["top"][0]["probability"] < 0.99
    assert main(["export", "net.onnx", "--weights", "run"]) == 0
    printed = capsys.readouterr().out
    shutil.rmtree("run")

    session = onnxruntime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
    description = json.loads(session.get_modelmeta().custom_metadata_map["alexnet_np"])
    assert f"Images: {description['images']}\n" in printed
    preparation = description["preparation"]
    resize, size = preparation["resize"], preparation["size"]
    with Image.open("red.png") as picture:
        short = min(picture.size)
        width, height = (int(resize * side / short) for side in picture.size)
        picture = picture.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    pixels = np.asarray(picture.crop((left, top, left + size, top + size)), np.float32)
    mean, std = preparation["mean_image"], np.array(preparation["std"], np.float32)
    if mean is None:
        prepared = (pixels / 255 - np.array(preparation["mean"], np.float32)) / std
    else:
        side = mean["side"]
        image = np.frombuffer(zlib.decompress(base64.b64decode(mean["data"])), "<f4").reshape(side, side, 3)
        first = round((side - size) / 2)
        prepared = (pixels - image[first : first + size, first : first + size]) / (255 * std)
    (logits,) = session.run(None, {"images": prepared.transpose(2, 0, 1)[None].astype(np.float32)})
    shares = np.exp(logits[0]) / np.exp(logits[0]).sum()
    for guess in expected["top"]:
        assert shares[description["classes"].index(guess["class"])] == pytest.approx(guess["probability"], abs=1e-5)


def test_export_says_what_is_subtracted(run_with_mean_image, capsys):
    capsys.readouterr()
    assert main(["export", "net.onnx", "--weights", "run"]) == 0
    expected = (
        "values from 0 to 255; subtract the middle 64x64 pixels of the mean image (73x73 pixels); divide by (58.395, "
    )
    assert expected in capsys.readouterr().out
    assert "--size: expected 64, the size of the run" in fails(
        capsys, "export", "net.onnx", "--weights", "run", "--size", "70"
    )


def test_another_size_is_in_the_description(run, capsys):
    assert main(["export", "net.onnx", "--weights", "run", "--size", "128"]) == 0
    assert "resize the shorter side to 146 pixels; cut 128x128 pixels from the middle" in capsys.readouterr().out
    assert "--size: expected a .onnx file" in fails(
        capsys, "export", "a.safetensors", "--weights", "run", "--size", "70"
    )


# ---- other data


def test_the_same_pictures_in_another_order_have_the_same_accuracy(run, tmp_path, capsys):
    """Class folders are alphabetical; classes.txt has an order of its own."""
    names = ["red", "blue", "green"]
    write_idx_with_names(tmp_path / "idx", names)
    images = data.load_test(tmp_path / "idx")
    for number in range(len(images)):
        folder = tmp_path / "folders" / images.classes[images.labels[number]]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(images.image(number)).save(folder / f"{number}.png")
    results = [
        output(capsys, "evaluate", "--weights", "run", "--data", where, "--out", f"{where}-out")
        for where in ("idx", "folders")
    ]
    assert results[0]["loss"] == pytest.approx(results[1]["loss"], rel=1e-6)
    assert [result["classes_matched_by"] for result in results] == ["name", "name"]
    tables = [Path(f"{where}-out/confusion.csv").read_text("utf-8") for where in ("idx", "folders")]
    assert tables[0] == tables[1]
    assert tables[0].startswith("class,blue,green,red\n")


def test_evaluate_says_when_it_goes_by_position(run, tmp_path, capsys):
    write_idx_with_names(tmp_path / "idx", ["red", "blue", "green"])
    (tmp_path / "idx" / "classes.txt").unlink()
    result = output(capsys, "evaluate", "--weights", "run", "--data", "idx")
    assert result["classes_matched_by"] == "position"
    assert main(["evaluate", "--weights", "run", "--data", "idx", "--out", "out"]) == 0
    assert "matched by position, because idx does not name them: 0 is blue, 1 is green" in capsys.readouterr().err
    assert Path("out/confusion.csv").read_text("utf-8").startswith("class,blue,green,red")


def test_names_in_another_order_than_the_networks_are_refused(run, capsys):
    Path("names.txt").write_text("red\ngreen\nblue\n")
    command = ["predict", "--weights", "run", "--classes", "names.txt", "red.png"]
    assert "--classes: expected the order that the network has, got another one: line 1 of names.txt is 'red'" in fails(
        capsys, *command
    )
    for text in ("green\nverde\nrojo\n", "\ufeffred\nverde\nrojo\n", "azul\nverde\nBlue  \n"):
        Path("names.txt").write_text(text, "utf-8")
        assert "expected the order that the network has" in fails(capsys, *command)
    for text, message in (("azul\n\nrojo\n", "none in line 2"), ("azul\nverde\nazul", "'azul' more than once")):
        Path("names.txt").write_text(text)
        assert message in fails(capsys, *command)
    Path("names.txt").write_text("azul\nverde\nrojo\n")
    assert {guess["class"] for guess in output(capsys, *command)[0]["top"]} == {"azul", "verde", "rojo"}


# ---- fine-tuned


def last_layer(net):
    return net.state_dict()["classifier.4.weight"], net.state_dict()["classifier.4.bias"]


@pytest.mark.parametrize(
    ("names", "said", "order"),
    [
        (["blue", "green", "red"], "the last layer too, for it knows the same classes", [0, 1, 2]),
        (["red", "blue", "green"], "the last layer too, its classes in the order of the data", [2, 0, 1]),
        (["red", "blue", "mauve"], "the last layer starts fresh: the classes differ", None),
        (["0", "1", "2"], "the last layer starts fresh: the classes differ", None),
    ],
)
def test_the_last_layer_is_taken_over_by_name(run, tmp_path, capsys, names, said, order):
    write_idx_with_names(tmp_path / "idx", names)
    shutil.copy("run/weights.safetensors", "moved.safetensors")
    train = ["train", "--size", "64", "--epochs", "1", "--lr", "0", "--data", "idx", "--seed", "7", "--out", "tuned"]
    assert main([*train, "--weights", "moved.safetensors"]) == 0
    assert said in capsys.readouterr().out
    before, after = (runs.open_trained(folder).net for folder in ("run", "tuned"))
    fresh = small_network(3, seed=7)
    for old, new, first in zip(last_layer(before), last_layer(after), last_layer(fresh), strict=True):
        np.testing.assert_array_equal(new, first if order is None else old[..., order])
    np.testing.assert_array_equal(before.parameters()[0].data, after.parameters()[0].data)


def test_a_file_that_does_not_name_its_classes_gives_its_last_layer_to_as_many(run, colours, capsys):
    net = runs.open_trained(run).net
    weights.save(net, "bare.safetensors")
    train = ["train", "--size", "64", "--epochs", "1", "--lr", "0", "--data", str(colours), "--out", "tuned"]
    assert main([*train, "--weights", "bare.safetensors"]) == 0
    assert "the last layer too, by position, for the file does not name its classes" in capsys.readouterr().out
    for old, new in zip(last_layer(net), last_layer(runs.open_trained("tuned").net), strict=True):
        np.testing.assert_array_equal(old, new)


def test_fine_tuning_takes_the_network_of_the_weights(run, colours, monkeypatch, capsys):
    train = ["train", "--size", "64", "--epochs", "1", "--data", str(colours), "--weights", "run"]
    expected = "--model alexnet_keras: run says that it is of alexnet: leave out --model"
    assert expected in fails(capsys, *train, "--model", "alexnet_keras").replace(str(Path.cwd()) + "/", "")
    built = []

    def keras(**options):
        built.append(options)
        return small_network(**options)

    monkeypatch.setattr(models, "alexnet_keras", keras)
    monkeypatch.setattr(runs, "INPUT_SIZES", {**runs.INPUT_SIZES, "alexnet_keras": None})
    assert main([*TRAIN, "--data", str(colours), "--model", "alexnet_keras", "--out", "keras"]) == 0
    assert main([*train[:-1], "keras", "--out", "tuned"]) == 0
    assert len(built) == 2
    assert 'model = "alexnet_keras"' in Path("tuned/config.toml").read_text("utf-8")
    assert runs.description_of("tuned").model == "alexnet_keras"


def test_two_data_sets_with_numbers_only_are_matched_by_position_and_that_is_said(tmp_path, capsys):
    names = ["0", "1", "2"]
    write_idx_with_names(tmp_path / "idx", names)
    train = ["train", "--size", "64", "--epochs", "1", "--data", "idx", "--out"]
    assert main([*train, "first"]) == 0
    assert main([*train, "second", "--weights", "first"]) == 0
    assert "the last layer too, by position: both have numbers only" in capsys.readouterr().out


def test_fine_tuning_begins_with_a_stopped_run_and_says_of_images(colours, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(training.Trainer, "end_epoch", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main([*TRAIN, "--data", str(colours), "--checkpoint-minutes", "0", "--out", "stopped"]) == 130
    capsys.readouterr()
    train = ["train", "--epochs", "1", "--lr", "0", "--data", str(colours), "--weights", "stopped", "--out", "tuned"]
    assert main([*train, "--size", "96"]) == 0
    out = capsys.readouterr().out
    assert "the last layer too, for it knows the same classes; its images were prepared in another way: RGB; " in out
    for old, new in zip(*(last_layer(runs.open_trained(folder).net) for folder in ("stopped", "tuned")), strict=True):
        np.testing.assert_array_equal(old, new)


# ---- flags that would make no difference


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["train", "--variant", "code"], "--variant code: expected alexnet_2012, which has variants, got alexnet"),
        (["train", "--step-epochs", "7"], "--step-epochs: expected --schedule step with it, got cosine"),
        (["train", "--gamma", "0.5", "--schedule", "constant"], "--gamma: expected --schedule step or plateau or 2012"),
        (["train", "--patience", "2"], "--patience: expected --schedule plateau with it, got cosine"),
        (
            ["train", "--no-bias-decay", "--optimizer", "2012"],
            "--bias-decay: expected --optimizer sgd with it, got 2012",
        ),
        (["summary", "--variant", "code"], "--variant code: expected alexnet_2012"),
        (["summary", "--batch-size", "4"], "--batch-size: expected --style costs"),
        (["summary", "--style", "repr", "--size", "64"], "--size: expected another --style"),
        (["summary", "--style", "costs", "--json"], "--style costs: expected no --json beside it"),
        (["augment", "--write-mean-image", "mean.npy", "--picture", "3"], "--picture: expected --preview too"),
        (["evaluate", "--download"], "--download: expected --data with it"),
    ],
)
def test_flags_that_would_be_ignored_are_refused(argv, message, capsys):
    assert message in fails(capsys, *argv)
