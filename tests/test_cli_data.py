"""The commands for data, as a person uses them: check-data, augment, and what train and evaluate have of them."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pictures import small_network, write_class_folders, write_noise
from PIL import Image

from alexnet_np import data, metrics, models
from alexnet_np.cli import main, parser
from alexnet_np.cli.augmentation import augmented
from alexnet_np.data import augmentation, download, images
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

    def test_what_nobody_looks_at_and_what_was_decided_is_said(self, folder, capsys):
        write_noise(folder, "0.png", "train/0.png", "train/1.png")
        assert main(["check-data", "colours"]) == 1
        out = capsys.readouterr().out
        assert "Note: train/ holds images and no folders, so it is taken for a class of that name" in out
        assert "Ignored images (1)\n  colours: 1 images beside the folders are ignored (0.png, ...)\n" in out

    def test_what_pillow_remarks_is_counted_and_not_printed(self, folder, capfd):
        """In a file of its own format Pillow warns of tags; of a damaged strip libtiff prints an error."""
        path = folder / "red" / "a.tif"
        Image.open(folder / "red" / "0.png").save(path, compression="tiff_deflate")
        whole = bytearray(path.read_bytes())
        whole[40:60] = b"\xff" * 20
        path.write_bytes(whole)
        assert main(["check-data", "colours"]) == 1
        out, err = capfd.readouterr()
        assert "a.tif: cannot be decoded" in out
        assert err == ""


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

    def test_the_mean_image_leaves_out_what_training_skips_and_says_so(self, folder, capsys):
        Image.new("RGB", (3000, 1)).save(folder / "red" / "long.png")
        (folder / "red" / "empty.png").write_bytes(b"")
        for name in ("green", "blue"):
            for path in (folder / name).glob("[3-9].png"):
                path.unlink()
        assert main(["augment", "--data", "colours", "--write-mean-image", "mean.npy"]) == 0
        assert "skipped: " in capsys.readouterr().out
        assert np.load("mean.npy").shape == (256, 256, 3)

    def test_a_picture_that_cannot_be_prepared_is_named(self, folder, capsys):
        (folder / "blue" / "0.png").unlink()
        for number in range(1, 5):
            Image.new("RGB", (3000, 1)).save(folder / "blue" / f"{number}.png")
        sheet = ["augment", "--preview", "sheet.png", "--data", "colours"]
        assert ".png: 3000x1 pixels are too long and narrow" in fails(capsys, *sheet)

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
        expected = np.array(augmentation.principal_colours(some(loaded.train, 1000, augmentation.colour_moments)))
        np.testing.assert_array_equal(preparation.principal_colours, expected)
        assert preparation.colour_noise == 0.1


@pytest.mark.usefixtures("small_and_elsewhere")
class TestWhatIsSaid:
    """Of three parts, of classes, and of images that are ignored."""

    TRAIN = ("train", "--data", "set", "--size", "64", "--epochs", "1", "--out", "run")

    @pytest.fixture
    def parts(self):
        for number, part in enumerate(("train", "val", "test"), 1):
            write_noise(Path("set"), *(f"{part}/{name}/{k}.png" for name in ("cat", "dog") for k in range(number)))
        return Path("set")

    def test_train_says_what_it_is_tested_on_and_evaluate_takes_what_was_kept_aside(self, parts, capsys):
        write_noise(parts, "0.png")
        assert main(self.TRAIN) == 0
        out = capsys.readouterr().out
        assert "set: 2 images to train, 4 to test" in out
        assert "tested on val/, the validation set\n2 classes: cat, dog\n" in out
        assert "Note: test/, the test set, is kept aside: alexnet-np evaluate tests on it\n" in out
        assert f"Warning: {parts.resolve()}: 1 images beside the folders are ignored (0.png, ...)\n" in out
        for data_of in ([], ["--data", "set"]):
            assert main(["evaluate", "--weights", "run", *data_of]) == 0
            assert "on 6 images of " in (out := capsys.readouterr().out)
            assert "set: test/, the test set\n" in out
        assert main(["evaluate", "--weights", "run", "--data", "set/val", "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert (report["images"], report["part"]) == (4, "all of it")

    def test_many_warnings_are_cut(self, parts, capsys):
        write_noise(parts, *(f"extra{k}/0.png" for k in range(9)))
        assert main(self.TRAIN) == 0
        out = capsys.readouterr().out
        assert out.count("stands beside the parts of the data") == 5
        assert "Warning: and 4 more of these: alexnet-np check-data lists them" in out

    def test_many_classes_take_a_line(self, capsys):
        write_noise(Path("set"), *(f"animal {k:03}/{n}.png" for k in range(40) for n in range(2)))
        assert main(self.TRAIN) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("40 classes: ")]
        assert line.startswith("40 classes: animal 000, animal 001, ")
        assert line.endswith(" and 32 more")

    def test_remarks_are_counted_after_training(self, parts, capfd):
        path = parts / "train/cat/a.tif"
        Image.open(parts / "train/cat/0.png").save(path)
        whole = bytearray(path.read_bytes())
        start = int.from_bytes(whole[4:8], "little")
        last = start + 2 + 12 * (int.from_bytes(whole[start : start + 2], "little") - 1)
        whole[last : last + 12] = bytes.fromhex("3101 0200 a0860100 08000000")  # a tag that holds more than the file
        path.write_bytes(whole)
        assert main(self.TRAIN) == 0
        out, err = capfd.readouterr()
        assert "Remarks of Pillow and libtiff, on images each: 1 " in out
        assert "Warning" not in err

    def test_predict_answers_in_order_holds_few_images_and_names_the_one_it_cannot_read(
        self, parts, capsys, monkeypatch
    ):
        assert main(self.TRAIN) == 0
        paths = [str(path) for path in sorted(write_noise(Path("many"), *(f"{k:02}.png" for k in range(40))).iterdir())]
        alive, most, read = set(), [0], images.read

        class Counted(np.ndarray):
            def __array_finalize__(self, of):
                if of is None or not isinstance(of, Counted):
                    alive.add(id(self))
                    most[0] = max(most[0], len(alive))

            def __del__(self):
                alive.discard(id(self))

        monkeypatch.setattr(images, "read", lambda path: read(path).view(Counted))
        capsys.readouterr()
        assert main(["predict", "--weights", "run", *paths]) == 0
        assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("many")] == paths
        assert 0 < most[0] <= data.WORKERS + 1  # those that are being prepared
        Path("many/20.png").write_bytes(b"")
        assert main(["predict", "--weights", "run", *paths]) == 2
        out, err = capsys.readouterr()
        assert [line for line in out.splitlines() if line.startswith("many")] == paths[:20]
        assert f"{paths[20]}: the file is empty" in err

    def test_predict_says_which_image_is_too_narrow(self, parts, capsys):
        assert main([*self.TRAIN[:3], "--size", "224", *self.TRAIN[5:]]) == 0
        Image.new("RGB", (3000, 1)).save("long.png")
        assert "long.png: 3000x1 pixels are too long and narrow" in fails(
            capsys, "predict", "--weights", "run", "long.png"
        )


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


class TestFlagsOfAugmentation:
    def test_what_the_mean_image_would_ignore_is_refused(self, folder, capsys):
        command = ["augment", "--data", "colours", "--write-mean-image", "mean.npy"]
        told = "--augment, --mirror, --brightness, --seed: expected --preview too: the mean image is that of all images"
        assert told in fails(capsys, *command, "--augment", "modern", "--no-mirror", "--brightness", "0", "--seed", "1")
        assert "--colours: expected --preview too" in fails(capsys, *command, "--colours", "data")

    @pytest.mark.parametrize("command", [["train"], ["augment", "--preview", "sheet.png"]])
    def test_principal_colours_without_colour_augmentation_are_refused(self, command, folder, capsys):
        flags = ["--data", "colours", "--size", "16", "--colours", "data"]
        told = "--colours data: expected --colour-noise or --augment paper with it"
        assert told in fails(capsys, *command, *flags)
        assert told in fails(capsys, *command, *flags, "--augment", "paper", "--colour-noise", "0")

    def test_augment_says_what_is_ignored(self, folder, capsys):
        shutil.copy(next(folder.glob("*/*.png")), folder / "loose.png")
        assert main(["augment", "--data", "colours", "--write-mean-image", "mean.npy"]) == 0
        out, err = capsys.readouterr()
        assert "Warning: colours: 1 images beside the folders are ignored (loose.png, ...)\n" in err
        assert "Warning" not in out
