"""What a file of weights says of itself: the same comes back, the file alone is enough, what is wrong is refused."""

import base64
import json
import zlib
from dataclasses import replace

import numpy as np
import pytest
from pictures import small_network

from alexnet_np import __version__, layers, models, weights
from alexnet_np.data import Preparation
from alexnet_np.data.mean_image import MeanImage

PREPARATION = Preparation.photographs(56)  # from 64
CLASSES = ["größe", "caf\udce9", "2"]  # the second is the name of a folder that is no text


def small_net():
    return models.Network(flatten=layers.Flatten(), classifier=layers.Sequential(layers.Linear(56 * 56 * 3, 3)))


def description(**changes):
    return replace(weights.Description("alexnet", None, CLASSES, PREPARATION.augmented("modern")), **changes)


@pytest.fixture
def with_mean_image(tmp_path):
    mean = np.random.default_rng(0).uniform(0, 255, (64, 64, 3)).astype(np.float32)
    np.save(tmp_path / "mean.npy", mean)
    return replace(PREPARATION, mean_image=str(tmp_path / "mean.npy"))


def test_what_is_written_comes_back(tmp_path):
    weights.save(small_net(), tmp_path / "a.safetensors", description())
    found = weights.read_description(tmp_path / "a.safetensors")
    assert found == description()
    assert (found.classes, found.preparation, found.version) == (CLASSES, description().preparation, __version__)


def test_the_mean_image_comes_with_it(tmp_path, with_mean_image):
    """To the bit, when its file is gone."""
    squares = np.random.default_rng(1).integers(0, 256, (2, 56, 56, 3), dtype=np.uint8)
    expected = with_mean_image.normalise(squares)
    weights.save(small_net(), tmp_path / "a.safetensors", description(preparation=with_mean_image))
    (tmp_path / "mean.npy").unlink()
    found = weights.read_description(tmp_path / "a.safetensors").preparation
    np.testing.assert_array_equal(found.normalise(squares), expected)
    assert found == replace(with_mean_image, mean_image=found.mean_image)


def test_other_programs_can_read_the_mean_image(with_mean_image):
    """By the recipe in docs/weights.md."""
    metadata = description(preparation=with_mean_image).metadata()
    mean = json.loads(metadata["alexnet_np"])["preparation"]["mean_image"]
    pixels = np.frombuffer(zlib.decompress(base64.b64decode(mean["data"])), "<f4").reshape(64, 64, 3)
    np.testing.assert_array_equal(pixels, np.load(with_mean_image.mean_image))


def test_a_preparation_is_said_in_words(with_mean_image):
    cut = "RGB; resize the shorter side to 64 pixels; cut 56x56 pixels from the middle; "
    colours = "subtract (0.485, 0.456, 0.406); divide by (0.229, 0.224, 0.225)"
    assert PREPARATION.in_words() == f"{cut}values from 0 to 1; {colours}"
    mean = "subtract the middle 56x56 pixels of the mean image (64x64 pixels); divide by (58.395, 57.12, 57.375)"
    assert with_mean_image.in_words() == f"{cut}values from 0 to 255; {mean}"


def values(**changes):
    return json.loads(description().metadata()["alexnet_np"]) | changes


def of_preparation(**changes):
    return values(preparation=values()["preparation"] | changes)


def without(name):
    return {key: value for key, value in values().items() if key != name}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "description: cannot be read as JSON"),
        ("[" * 100_000, "description: cannot be read as JSON"),
        ("7", "description: expected a JSON object, got '7'"),
        (values(format=2), r"description: it has format 2, of a newer version of alexnet-np; .*: upgrade it"),
        (values(format="1"), "description: format: expected a whole number from 1, got '1'"),
        (without("format"), "description: format: expected a whole number from 1, got None"),
        (without("classes"), "description: expected classes, found none"),
        (values(scales=[1]), "description: expected .* only, got 'scales' too"),
        (values(model=7), "description: model: expected text, got 7"),
        (values(model="x" * 2000), "description: model: expected text of at most 1000 characters"),
        (values(variant=[]), "description: variant: expected text"),
        (values(classes="cat"), "description: classes: expected a list, got 'cat'"),
        (values(classes=[]), "description: classes: expected 1 to 1,000,000 names, got 0"),
        (values(classes=["cat", 7]), "description: classes: item 1: expected text, got 7"),
        (values(preparation=7), "description: preparation: expected an object with names, got 7"),
        (of_preparation(blur=1), "description: preparation: expected .* only, got 'blur' too"),
        (of_preparation(size="56"), "description: preparation: size: expected a whole number, got '56'"),
        (of_preparation(size=10**9, resize=10**9), "description: preparation: resize: expected at most 4096 pixels"),
        (of_preparation(mean=[0.5, "a", 0.5]), "description: preparation: mean: item 1: expected a number, got 'a'"),
        (of_preparation(mean=0.5), "description: preparation: mean: expected a list, got 0.5"),
        (of_preparation(std=[0, 1, 1]), "description: preparation: std: expected numbers above 0"),
        (of_preparation(std=[1, float("inf"), 1]), "description: preparation: std: expected a number for each"),
        (of_preparation(mirror="yes"), "description: preparation: mirror: expected true or false"),
        (of_preparation(crop=7), "description: preparation: crop: expected"),
        (of_preparation(principal_colours=[[1]]), "description: preparation: principal_colours"),
        (of_preparation(mean_image="/etc/passwd"), "mean_image: expected pixels, got '/etc/passwd'"),
        (of_preparation(mean_image=7), "mean_image: expected text or an object with names or null, got 7"),
        (of_preparation(mean_image={"side": 64}), "description: preparation: .*data"),
        (of_preparation(mean_image={"side": 64, "data": "?"}), "mean_image: data: cannot be unpacked"),
        (of_preparation(mean_image={"side": 10**9, "data": ""}), "mean_image: side: expected a whole number from 1 to"),
        (
            of_preparation(mean_image={"side": 64, "data": base64.b64encode(zlib.compress(bytes(10**8))).decode()}),
            "mean_image: data: expected 49,152 bytes for 64x64 pixels",
        ),
        (
            of_preparation(mean_image={"side": 8, "data": MeanImage.of(np.zeros((8, 8, 3))).data}),
            "mean_image: expected 64x64 pixels",
        ),
    ],
)
def test_what_is_wrong_meets_a_sentence(content, message):
    text = content if isinstance(content, str) else json.dumps(content)
    with pytest.raises(ValueError, match=message):
        weights.Description.from_metadata({"alexnet_np": text})


def test_a_mean_image_of_anything_but_numbers_is_refused():
    with pytest.raises(ValueError, match="expected finite numbers"):
        MeanImage.of(np.full((8, 8, 3), np.nan))
    with pytest.raises(ValueError, match="expected a side of at most 1024 pixels"):
        MeanImage.of(np.zeros((2000, 2000, 3), np.uint8))


def test_arguments_of_other_types_meet_a_sentence():
    for wrong in ({"classes": None}, {"preparation": None}, {"model": None}):
        with pytest.raises(ValueError, match=f"description: {next(iter(wrong))}: expected .*, got None"):
            description(**wrong)


def test_a_file_without_a_description_says_nothing(tmp_path):
    assert weights.Description.from_metadata({"format": "pt"}) is None
    weights.save(small_net(), tmp_path / "a.weights.h5")
    assert weights.read_description(tmp_path / "a.weights.h5") is None
    with pytest.raises(FileNotFoundError, match="weights: there is no file"):
        weights.read_description(tmp_path / "b.safetensors")


def test_a_description_that_cannot_be_kept_or_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a \.weights\.h5 file keeps no description"):
        weights.save(small_net(), tmp_path / "a.weights.h5", description())
    with pytest.raises(ValueError, match="description: classes: expected 3 names, got 2"):
        weights.save(small_net(), tmp_path / "a.safetensors", description(classes=["a", "b"]))
    with pytest.raises(ValueError, match="description: preparation: size: 64 pixels do not fit the network"):
        weights.save(small_net(), tmp_path / "a.safetensors", description(preparation=Preparation.photographs(64)))
    wrong = description(preparation=Preparation.photographs(64))
    with pytest.raises(ValueError, match=r"size: expected \(60, 60\), as the graph has it, got 64"):
        weights.export_onnx(small_network(), tmp_path / "a.onnx", (60, 60), wrong)
    with pytest.raises(ValueError, match="description: model: expected alexnet, as the network is, got 'vgg11'"):
        description(model="vgg11").check(models.alexnet(num_classes=3, init="zeros"))
    assert not list(tmp_path.iterdir())


def test_an_onnx_file_describes_itself_too(tmp_path, monkeypatch):
    described = description(preparation=Preparation.photographs(64))
    weights.export_onnx(small_network(), tmp_path / "a.onnx", (64, 64), described)
    assert weights.read_description(tmp_path / "a.onnx") == described
    (tmp_path / "b.onnx").write_text("odd")
    with pytest.raises(ValueError, match="cannot be read as ONNX"):
        weights.read_description(tmp_path / "b.onnx")
    monkeypatch.setattr(weights.files, "find_spec", lambda name: None)
    assert weights.read_description(tmp_path / "a.onnx") is None
