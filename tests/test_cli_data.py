"""The commands for data, as a person uses them: check-data, augment, and what train and evaluate have of them."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pictures import small_network, write_class_folders
from PIL import Image

from alexnet_np import data, metrics, models
from alexnet_np.cli import main, parser
from alexnet_np.cli.augmentation import augmented
from alexnet_np.data import augmentation, download
from alexnet_np.data.dataset import some


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_class_folders(tmp_path / "colours", 5)


def fails(capsys, *argv):
    capsys.readouterr()
    assert main([str(argument) for argument in argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err


class TestCheckData:
    def test_good_data_are_good(self, folder, capsys):
        assert main(["check-data", "colours"]) == 0
        out = capsys.readouterr().out
        assert out == "colours: 12 to train, 3 to test; 3 classes\nNothing is wrong.\n"

    def test_what_is_wrong_is_listed_by_kind(self, folder, capsys):
        for k in range(12):
            (folder / "red" / f"empty{k:02}.png").write_bytes(b"")
        Image.new("CMYK", (40, 40)).save(folder / "blue" / "print.jpg")
        assert main(["check-data", "colours"]) == 1
        out = capsys.readouterr().out
        assert "Converted: 1 CMYK" in out
        assert "Cannot be read: training would skip them (12)" in out
        assert out.count(": the file is empty") == 10
        assert "... and 2 more: --json lists all" in out

    def test_json_lists_all(self, folder, capsys):
        (folder / "red" / "0.png").write_bytes(b"")
        (folder / "none").mkdir()
        assert main(["check-data", "colours", "--json"]) == 1
        report = json.loads(capsys.readouterr().out)
        assert report["ok"] is False
        assert report["pictures"]["train"] + report["pictures"]["test"] == 15
        assert {(finding["kind"], finding["path"]) for finding in report["findings"]} == {
            ("class", "colours/none"),
            ("unreadable", "colours/red/0.png"),
        }

    def test_what_is_not_there_is_said_in_a_sentence(self, folder, capsys):
        assert "there is no folder nowhere" in fails(capsys, "check-data", "nowhere")


class TestAugment:
    @pytest.mark.parametrize("augment", ["none", "crop", "paper", "modern"])
    def test_the_sheet_is_a_picture(self, folder, augment):
        command = ["augment", "--preview", "sheet.png", "--data", "colours", "--size", "16", "--augment", augment]
        assert main(command) == 0
        with Image.open("sheet.png") as sheet:
            colours = len(sheet.convert("RGB").getcolors(1 << 20))
        assert sheet.width > 800
        assert colours > 500

    def test_rows_are_those_of_the_settings(self, folder):
        heights = []
        for more in ([], ["--hue", "0.2"], ["--hue", "0.2", "--brightness", "0.5", "--crop", "resized"]):
            assert main(["augment", "--preview", "sheet.png", "--data", "colours", "--size", "16", *more]) == 0
            with Image.open("sheet.png") as sheet:
                heights.append(sheet.height)
        assert heights[1] - heights[0] == heights[2] - heights[1] > 100

    def test_the_mean_image_is_that_of_the_training_pictures(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        for part, level in (("train", 100), ("val", 200)):
            for name in ("a", "b"):
                (tmp_path / part / name).mkdir(parents=True)
                Image.new("RGB", (20, 30), (level, 0, 50 if name == "a" else 150)).save(
                    tmp_path / part / name / "1.png"
                )
        assert main(["augment", "--data", ".", "--size", "14", "--write-mean-image", "mean.npy"]) == 0
        assert "16x16, mean colour [100.0, 0.0, 100.0]" in capsys.readouterr().out
        np.testing.assert_array_equal(np.load("mean.npy"), np.broadcast_to(np.float32([100, 0, 100]), (16, 16, 3)))

    def test_what_makes_no_sense_is_said_in_a_sentence(self, folder, capsys):
        assert "expected --preview PNG or --write-mean-image NPY" in fails(capsys, "augment")
        sheet = ["augment", "--preview", "sheet.png", "--data", "colours"]
        assert "hue: expected 0 to 0.5" in fails(capsys, *sheet, "--hue", "0.7")
        assert "--picture: expected 0 to 11, got 12" in fails(capsys, *sheet, "--picture", "12")
        assert not list(folder.parent.glob("sheet*"))

    def test_without_matplotlib_there_is_advice(self, folder, capsys, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        assert "pip install 'alexnet-np[demo]'" in fails(capsys, "augment", "--preview", "s.png", "--data", "colours")

    def test_a_drawing_that_fails_is_said_and_the_mean_image_is_there(self, folder, capsys, monkeypatch):
        def fail(*args, **kwargs):
            raise KeyError("a mistake of matplotlib")

        monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
        command = ["augment", "--preview", "s.png", "--write-mean-image", "m.npy", "--data", "colours", "--size", "16"]
        assert main(command) == 2
        assert capsys.readouterr().err == "alexnet-np augment: s.png could not be drawn ('a mistake of matplotlib')\n"
        assert Path("m.npy").exists()


class TestTrain:
    def test_settings_of_augmentation_that_make_no_sense_are_said_in_a_sentence(self, folder, capsys):
        train = ["train", "--data", "colours", "--size", "64"]
        assert "hue: expected 0 to 0.5" in fails(capsys, *train, "--augment", "paper", "--hue", "0.9")
        assert "mean_image: there is no file" in fails(capsys, *train, "--out", "run", "--mean-image", "nowhere.npy")
        assert not (folder.parent / "run").exists()

    def test_settings_given_beside_a_named_augmentation_win(self, folder, capsys):
        args = parser().parse_args(["train", "--augment", "modern", "--contrast", "0.1", "--hue", "0", "--no-mirror"])
        preparation = augmented(args, data.load(folder), 64)
        modern = data.Preparation.photographs(64).augmented("modern")
        assert preparation == replace(modern, contrast=0.1, hue=0.0, mirror=False)

    def test_principal_colours_are_those_of_the_data_where_asked_for(self, folder):
        (folder / "red" / "0.png").write_bytes(b"")  # no harm to statistics
        args = parser().parse_args(["train", "--augment", "paper", "--colours", "data"])
        loaded = data.load(folder)
        preparation = augmented(args, loaded, 64)
        expected = np.array(augmentation.principal_colours(some(loaded.train, 1000)))
        np.testing.assert_array_equal(preparation.principal_colours, expected)
        assert preparation.colour_noise == 0.1


class TestDownload:
    @pytest.fixture
    def asked(self, tmp_path, monkeypatch):
        """What was asked for; it comes as a folder of three classes."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(models, "alexnet", small_network)
        asked = []

        def fetch(name, progress):
            asked.append(name)
            progress("file", 5, None)
            return write_class_folders(Path("data") / name, 2)

        monkeypatch.setattr(download, "fetch", fetch)
        return asked

    @pytest.mark.parametrize(
        "argv",
        [
            ["train", "--epochs", "1", "--size", "64", "--data"],
            ["check-data"],
            ["augment", "--write-mean-image", "mean.npy", "--data"],
            ["evaluate", "--weights", "run", "--data"],
        ],
    )
    def test_what_came_is_used(self, asked, capsys, argv):
        if "run" in argv:
            colours = write_class_folders(Path("colours"), 2)
            assert main(["train", "--data", str(colours), "--epochs", "1", "--size", "64", "--out", "run"]) == 0
        assert "cifar10 (--download fetches it)" in fails(capsys, *argv, "cifar10")
        assert main([*argv, "cifar10", "--download"]) == 0
        assert asked == ["cifar10"]

    def test_a_run_does_not_fetch_again(self, asked, tmp_path):
        assert main(["train", "--data", "cifar10", "--download", "--epochs", "1", "--size", "64"]) == 0
        assert main(["train", "--config", "runs/cifar10/config.toml"]) == 0
        assert asked == ["cifar10"]


def test_ten_crops_are_judged_by_their_mean_probabilities(folder):
    net = small_network()
    test = data.load(folder).test
    preparation = data.Preparation(64, 70, True, (0.5,) * 3, (0.2,) * 3)
    result = metrics.evaluate(net, data.Loader(test, preparation, 2, ten_crop=True).batches())
    losses, right = [], 0
    for i, label in enumerate(test.labels):
        crops = preparation.normalise(preparation.ten_crops(test.image(i)))
        mean = np.mean([metrics.probabilities(net, crop[None])[0] for crop in crops], axis=0)
        losses.append(-np.log(mean[label]))
        right += mean.argmax() == label
    assert (result.images, result.top1) == (len(test), right / len(test))
    np.testing.assert_allclose(result.loss, np.mean(losses), rtol=1e-5)
