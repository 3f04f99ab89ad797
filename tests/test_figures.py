"""The figure of a run."""

import numpy as np
import pytest
from pictures import COLOURS, colour, small_network
from PIL import Image

from alexnet_np import figures
from alexnet_np.artist import Artist
from alexnet_np.data import Arrays, Loader, Preparation
from alexnet_np.metrics import Evaluation
from alexnet_np.training import Epoch

HISTORY = [Epoch(i + 1, 0.01, 2 / (i + 1), 0.2 * i, 2.5 / (i + 1), 0.15 * i, 1.0, 100.0, 0.0, 1.0) for i in range(5)]
KERNELS = np.random.default_rng(0).standard_normal((8, 11, 11, 3))


@pytest.fixture
def shown():
    rng = np.random.default_rng(0)
    images = np.stack([colour(name, rng, 64, 64) for name in COLOURS])
    return images, list(COLOURS), ["blue", "red", "red"]


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_it_is_a_picture_with_the_test_images_and_the_mistakes_in_it(tmp_path, shown):
    images, labels, predicted = shown
    figures.training_figure(tmp_path / "figure.png", "A run", HISTORY[:1], KERNELS, images, labels, predicted)
    figures.training_figure(tmp_path / "right.png", "A run", HISTORY, KERNELS, images, labels, labels)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figure.png", "right.png"]
    one, other = pixels(tmp_path / "figure.png"), pixels(tmp_path / "right.png")
    assert one.shape[1] > 1200
    for red, green, blue in COLOURS.values():  # an image covers some thousand pixels
        near = np.abs(one - [red, green, blue]).max(axis=2) < 60
        assert near.sum() > 3000
    mistake = tuple(int(figures.RED[i : i + 2], 16) for i in (1, 3, 5))
    assert (one == mistake).all(axis=2).sum() > 20
    assert (other == mistake).all(axis=2).sum() == 0


def test_filters_are_grey_where_the_pictures_are(tmp_path, shown):
    images = shown[0][..., :1].repeat(3, axis=3)
    for name, pictures in (("grey", images), ("colour", shown[0])):
        kernels = figures.first_kernels(small_network(), pictures)
        figures.training_figure(tmp_path / name, "A run", HISTORY, kernels, pictures, *shown[1:])
    # Where the filters are: the right third of the upper half.
    spread = {name: np.ptp(pixels(tmp_path / name)[100:400, 1150:], axis=2).max() for name in ("grey", "colour")}
    assert spread["grey"] < 40 < spread["colour"]


def test_what_fails_leaves_no_file(tmp_path, shown, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        figures.training_figure(tmp_path / "figure.png", "A run", HISTORY, KERNELS, *shown)
    assert list(tmp_path.iterdir()) == []


def test_a_sample_ends_with_the_mistakes():
    rng = np.random.default_rng(0)
    images = np.stack([colour(list(COLOURS)[i % 3], rng, 64, 64) for i in range(40)])
    net = small_network()
    net.state_dict()["classifier.4.weight"][...] = 0
    net.state_dict()["classifier.4.bias"][...] = [0, 1, 0]  # green, always
    loader = Loader(Arrays(images, np.arange(40) % 3, list(COLOURS)), Preparation.figures(64), 16)
    shown, labels, predicted = figures.sample(net, loader)
    # 13 of 40 are green, and no more than a row of mistakes is shown.
    assert shown.shape == (13 + 8, 64, 64, 3)
    assert labels[:13] == ["green"] * 13
    assert "green" not in labels[13:]
    assert set(predicted) == {"green"}
    strongest = {"blue": 2, "green": 1, "red": 0}
    assert [image.mean(axis=(0, 1)).argmax() for image in shown] == [strongest[label] for label in labels]


# ---- confusion


def confused(K, seed=0):
    rng = np.random.default_rng(seed)
    confusion = np.diag(rng.integers(5, 50, K)) + rng.poisson(30 / K, (K, K))
    return Evaluation(int(confusion.sum()), 1.0, 0.5, 0.9, confusion)


def test_few_classes_are_named_with_their_counts_and_many_are_shaded(tmp_path):
    for K in (3, 12, 200):
        names = [f"class {k}, with a long name" for k in range(K)]
        figures.confusion_figure(tmp_path / f"{K}.png", "A run", names, confused(K))
    mistake = tuple(int(figures.RED[i : i + 2], 16) for i in (1, 3, 5))
    counted = [(pixels(tmp_path / f"{K}.png") == mistake).all(axis=2).sum() for K in (3, 12, 200)]
    assert counted[0] > 5
    assert counted[1] > 50
    assert counted[2] == 0


def test_no_mistakes_and_classes_without_pictures_are_no_trouble(tmp_path):
    figures.confusion_figure(
        tmp_path / "a.png", "A run", ["a", "b", "a"], Evaluation(5, 0.1, 1.0, 1.0, np.diag([5, 0, 0]))
    )
    assert pixels(tmp_path / "a.png").shape[1] > 1200


# ---- beside the training


def test_an_artist_draws_in_a_process_of_its_own(tmp_path, shown, capfd):
    artist = Artist()
    assert not artist.busy
    artist.draw(
        [
            (figures.training_figure, (tmp_path / "nowhere" / "a.png", "A run", HISTORY, KERNELS, *shown)),
            (figures.training_figure, (tmp_path / "figure.png", "A run", HISTORY, KERNELS, *shown)),
        ]
    )
    assert artist.busy
    artist.wait()
    assert not artist.busy
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]
    figures.training_figure(tmp_path / "same.png", "A run", HISTORY, KERNELS, *shown)
    np.testing.assert_array_equal(pixels(tmp_path / "figure.png"), pixels(tmp_path / "same.png"))
    assert "a figure is missing" in capfd.readouterr().err  # and the other was drawn nevertheless
