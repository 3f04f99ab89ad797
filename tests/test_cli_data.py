"""The commands for data, as a person uses them: check-data and augment."""

import json

import numpy as np
import pytest
from pictures import write_class_folders
from PIL import Image

from alexnet_np.cli import main


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
