"""The commands, as a user types them."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pictures import small_network, write_class_folders, write_idx
from PIL import Image
from safetensors.numpy import load_file

import alexnet_np
from alexnet_np import backend, checkpoints, gradcheck, metrics, models, runs, step, training, weights
from alexnet_np.cli import main
from alexnet_np.cli.stop import Stopped, StopRequest
from alexnet_np.data import DataError

FILES = {
    "classes.csv",
    "config.toml",
    "confusion.csv",
    "confusion.png",
    "figure.png",
    "history.csv",
    "run.json",
    "weights.safetensors",
}


pytestmark = pytest.mark.usefixtures("small_and_elsewhere")


def train(data, *more):
    return main(["train", "--data", str(data), "--size", "64", "--epochs", "3", "--batch-size", "5", *more])


@pytest.fixture
def finished(small_and_elsewhere, colours):
    assert train(colours) == 0
    return Path("runs/colours")


def files(folder):
    """The names of what is in a folder, but for the best weights, in whose name is an epoch."""
    return {path.name for path in Path(folder).iterdir() if not runs.BEST.fullmatch(path.name)}


def read_history(run):
    with (Path(run) / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def fails(capsys, *argv):
    """The one sentence that a command says about bad input."""
    capsys.readouterr()
    assert main([str(argument) for argument in argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert err.count("\n") == 1
    return err


# ---- train


def test_train_writes_weights_history_and_figure(colours, capsys):
    assert train(colours) == 0
    finished = Path("runs/colours")
    assert files(finished) == FILES
    rows = read_history(finished)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert {"train_loss", "test_accuracy", "images_per_second", "waiting"} <= rows[0].keys()
    assert load_file(finished / "weights.safetensors")["features.0.weight"].shape == (8, 3, 11, 11)  # torch's layout
    with Image.open(finished / "figure.png") as figure:
        figure.verify()

    out = capsys.readouterr().out
    assert "ln 3 = 1.099" in out
    last_line = out.splitlines()[-1]
    accuracy = re.fullmatch(r"colours: 3 epochs in \d+ s, test accuracy (\d+\.\d) %", last_line)[1]
    assert float(accuracy) == pytest.approx(100 * float(rows[-1]["test_accuracy"]), abs=0.051)


def test_json_is_all_that_a_program_finds_on_standard_output(colours, capsys):
    assert train(colours, "--json") == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert result["run"] == str(Path("runs/colours"))
    assert result["epoch"] == 3
    assert 0 <= result["test_accuracy"] <= 1
    assert "test accuracy" in err


def test_a_second_run_gets_a_folder_of_its_own(finished, colours):
    assert train(colours, "--seed", "1") == 0
    assert files("runs") == {"colours", "colours-2"}
    assert train(colours, "--out", "elsewhere/here") == 0
    assert files("elsewhere/here") == FILES


def test_idx_files_are_trained_on_too(tmp_path, capsys):
    rng = np.random.default_rng(0)
    write_idx(
        tmp_path / "small", "train", rng.integers(0, 256, (20, 9, 9), dtype=np.uint8), np.arange(20, dtype=np.uint8) % 3
    )
    assert train(tmp_path / "small") == 0
    assert "20 pictures" not in capsys.readouterr().out  # a fifth is held out
    settings = runs.Settings.read(Path("runs/small"))
    assert (settings.classes, settings.preparation.mirror) == (["0", "1", "2"], False)


def stop_after(monkeypatch, steps, number=signal.SIGINT):
    """Ctrl-C during this step."""
    whole_step, taken = step.Step.__call__, []

    def interrupted(*args):
        taken.append(1)
        if len(taken) == steps:
            signal.raise_signal(number)
        return whole_step(*args)

    monkeypatch.setattr(step.Step, "__call__", interrupted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_a_checkpoint_and_resume_ends_with_the_same_bits(colours, finished, monkeypatch, capsys, number):
    before = signal.getsignal(number)  # a shell that starts programs in the background has SIGINT ignored
    with monkeypatch.context() as patch:
        stop_after(patch, 4, number)
        assert train(colours, "--out", "stopped") == 130
    assert files("stopped") == {
        "checkpoints",
        "classes.csv",
        "config.toml",
        "confusion.csv",
        "history.csv",
        "run.json",
    }
    out = capsys.readouterr().out
    assert "Stopped after 1 epoch and 1 of 3 steps" in out
    assert "alexnet-np train --resume stopped" in out
    assert main(["evaluate", "--weights", "stopped"]) == 0  # a stopped run can be used

    assert main(["train", "--resume", "stopped"]) == 0
    assert files("stopped") == FILES
    resumed, whole = (load_file(Path(run) / "weights.safetensors") for run in ("stopped", finished))
    for name, array in whole.items():
        np.testing.assert_array_equal(resumed[name], array, err_msg=name)
    assert signal.getsignal(number) is before


def test_after_a_request_to_stop_another_sigterm_changes_nothing_and_ctrl_c_interrupts():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        stop.grant()
        for _ in range(2):
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(Stopped):
                stop.grant()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_during_the_test_leaves_a_checkpoint(colours, monkeypatch, capsys):
    whole, calls = metrics.losses.top_k_correct, []

    def count(logits, labels, k):
        calls.append(k)
        if calls.count(5) == 1 and k == 5:  # only the evaluation asks for five
            signal.raise_signal(signal.SIGINT)
        return whole(logits, labels, k)

    monkeypatch.setattr(metrics.losses, "top_k_correct", count)
    assert train(colours, "--out", "stopped", "--batch-size", "2") == 130
    assert "Stopped after 0 epochs and 6 of 6 steps" in capsys.readouterr().out
    monkeypatch.undo()


def test_a_stop_that_is_asked_for_at_the_end_is_no_stop(colours, finished, monkeypatch):
    save = weights.save

    def interrupted(net, path, description):
        if path.name == runs.WEIGHTS:
            signal.raise_signal(signal.SIGTERM)
        save(net, path, description)

    monkeypatch.setattr(weights, "save", interrupted)
    assert train(colours, "--out", "terminated") == 0
    assert files("terminated") == FILES
    assert Path("terminated", runs.WEIGHTS).read_bytes() == Path(finished, runs.WEIGHTS).read_bytes()


def test_data_that_are_gone_in_the_middle_leave_a_checkpoint(tmp_path, finished, monkeypatch, capsys):
    folder = write_class_folders(tmp_path / "colours", 5)
    end_epoch = training.Trainer.end_epoch

    def end_and_lose(trainer, result):
        folder.rename("elsewhere")
        return end_epoch(trainer, result)

    with monkeypatch.context() as patch:
        patch.setattr(training.Trainer, "end_epoch", end_and_lose)
        assert train(folder, "--out", "run") == 2
    out, err = capsys.readouterr()
    assert "none of the 12 pictures can be read" in err
    assert err.count("\n") == 1
    assert "To go on when this is mended: alexnet-np train --resume run" in out
    assert files("run/checkpoints") == {"00000003.safetensors"}
    Path("elsewhere").rename(folder)
    assert main(["train", "--resume", "run"]) == 0
    assert Path("run", runs.WEIGHTS).read_bytes() == Path(finished, runs.WEIGHTS).read_bytes()


def test_an_error_of_the_program_shows_where_and_in_a_step_leaves_no_checkpoint(colours, finished, monkeypatch, capsys):
    whole_step, taken = step.Step.__call__, []

    def broken(self, images, labels):
        taken.append(1)
        if len(taken) == 5:  # weights and velocities have changed, the position has not
            whole_step(self, images, labels)
            raise ValueError("a mistake of ours")
        return whole_step(self, images, labels)

    with monkeypatch.context() as patch:
        patch.setattr(step.Step, "__call__", broken)
        with pytest.raises(ValueError, match="a mistake of ours"):
            train(colours, "--out", "run", "--checkpoint-minutes", "0")
    assert "To go on when this is mended: alexnet-np train --resume run" in capsys.readouterr().out
    assert files("run/checkpoints") == {"00000003.safetensors", "00000004.safetensors"}
    assert main(["train", "--resume", "run"]) == 0
    assert Path("run", runs.WEIGHTS).read_bytes() == Path(finished, runs.WEIGHTS).read_bytes()


def test_a_machine_without_memory_is_said_in_a_sentence(colours, monkeypatch, capsys):
    def full(*_):
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr(step.Step, "__call__", full)
    assert train(colours, "--out", "run") == 2
    assert "there is not enough memory (Unable to allocate 9 TiB)" in capsys.readouterr().err
    assert not Path("run").exists()


def accuracies_are(monkeypatch, *accuracies, before=lambda: None):
    """Tests find these, one after another; ``before`` is called in each."""
    accuracies = iter(accuracies)

    def evaluate(*_):
        before()
        return metrics.Evaluation(3, 1.0, next(accuracies), 1.0, np.eye(3, dtype=int))

    monkeypatch.setattr(training.Trainer, "evaluate", evaluate)


def test_a_run_that_stops_early_delivers_its_best_epoch(colours, monkeypatch, capsys):
    accuracies_are(monkeypatch, 0.3, 0.9, 0.5, 0.6, 0.9)  # the last is a test of what is delivered
    assert train(colours, "--epochs", "9", "--early-stopping", "2", "--ema", "0.9", "--out", "early") == 0
    out = capsys.readouterr().out
    assert "Stopped early: the weights of epoch 2 are the result" in out
    assert out.splitlines()[-1].endswith("test accuracy 90.0 %")
    assert len(read_history("early")) == 4
    delivered, best = (path.read_bytes() for path in (Path("early/weights.safetensors"), best_in("early")))
    assert delivered == best


def best_is_written(monkeypatch, *epochs):
    """Of other epochs than these, the best weights cannot be written."""
    save = weights.save

    def save_some(net, path, description):
        if path.name.startswith("best") and epoch_in(path) not in epochs:
            raise OSError("disk full")
        save(net, path, description)

    monkeypatch.setattr(weights, "save", save_some)


def epoch_in(path):
    return int(runs.BEST.fullmatch(path.name)[1])


def best_in(folder):
    """The one file of best weights, or none."""
    return next(Path(folder).glob("best*"), None)


@pytest.mark.parametrize(
    ("accuracies", "written", "delivered"),
    [
        ([0.3, 0.9, 0.5, 0.6], [1, 2, 3, 4], 2),
        ([0.3, 0.9, 0.2, 0.1], [1, 3, 4], 1),  # the best cannot be written: that of the first epoch stays what it is
        ([0.3, 0.9, 0.5, 0.4], [1, 3, 4], 3),  # and gives way to a better one
        ([0.3, 0.9, 0.5, 0.6], [1, 3], 4),  # the last needs no file
        ([0.3, 0.9, 0.5, 0.4], [], 4),
    ],
)
def test_after_an_early_stop_the_best_epoch_that_could_be_kept_is_delivered(
    colours, monkeypatch, capsys, accuracies, written, delivered
):
    accuracies_are(monkeypatch, *accuracies, 0.7)  # the last is a test of what is delivered
    best_is_written(monkeypatch, *written)
    kept = {}
    end_epoch = training.Trainer.end_epoch

    def keep(trainer, result):
        kept[trainer.epoch + 1] = weights.to_torch(trainer.net)["features.0.weight"].copy()
        return end_epoch(trainer, result)

    monkeypatch.setattr(training.Trainer, "end_epoch", keep)
    assert train(colours, "--epochs", "9", "--early-stopping", "2", "--out", "early") == 0
    out = capsys.readouterr().out
    assert f"Stopped early: the weights of epoch {delivered} are the result" in out
    assert ("those of epoch 2, the best, could not be kept" in out) == (delivered != 2)
    assert ("Warning: disk full; the training goes on" in out) == (delivered != 2)
    np.testing.assert_array_equal(load_file("early/weights.safetensors")["features.0.weight"], kept[delivered])
    best = best_in("early")
    assert (best is not None) == bool(written)
    if best:
        np.testing.assert_array_equal(load_file(best)["features.0.weight"], kept[epoch_in(best)])


def test_a_test_of_the_result_that_fails_leaves_it_and_says_how_to_go_on(colours, monkeypatch, capsys):
    tests = []

    def lose_pictures():
        tests.append(1)
        if len(tests) == 4:
            raise DataError("none of the 3 test pictures can be read")

    accuracies_are(monkeypatch, 0.9, 0.5, 0.6, before=lose_pictures)
    options = ("--epochs", "9", "--early-stopping", "2", "--checkpoint-minutes", "0", "--out", "early")
    assert train(colours, *options) == 2
    out, err = capsys.readouterr()
    assert "none of the 3 test pictures can be read" in err
    assert "The weights are kept. To test them when this is mended: alexnet-np evaluate --weights early" in out
    assert "--resume" not in out
    assert Path("early", runs.WEIGHTS).read_bytes() == best_in("early").read_bytes()
    assert not Path("early", runs.CHECKPOINTS).exists()


def test_a_damaged_file_of_the_best_epoch_is_told_of_and_the_last_delivered(colours, monkeypatch, capsys):
    accuracies_are(monkeypatch, 0.9, 0.5, 0.6, 0.6)
    load = weights.load

    def load_damaged(net, path):
        path.write_bytes(b"damaged")
        load(net, path)

    monkeypatch.setattr(weights, "load", load_damaged)
    assert train(colours, "--epochs", "9", "--early-stopping", "2", "--out", "early") == 0
    out = capsys.readouterr().out
    assert "best-epoch-1.safetensors is not a file of weights" in out
    assert "the weights of epoch 3 are the result; those of epoch 1, the best, could not be kept" in out


def best_epochs_in(folder):
    return sorted(epoch_in(path) for path in Path(folder).glob("best*"))


@pytest.mark.parametrize("lost", ["killed", "damaged"])
def test_a_run_that_is_set_back_before_its_best_epoch_has_the_best_until_there(colours, monkeypatch, capsys, lost):
    """Its second epoch was the best, but it goes on from the first: no checkpoint is of later, or that is damaged."""

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        accuracies_are(patch, 0.3, 0.9)
        stop_after(patch, 4)
        assert train(colours, "--epochs", "9", "--early-stopping", "2", "--out", "early") == 130
        best_of_the_first = best_in("early").read_bytes()
        stop_after(patch, 3)
        if lost == "killed":
            patch.setattr(checkpoints, "save_in_ring", killed)
        assert main(["train", "--resume", "early"]) == 130
    if lost == "damaged":
        checkpoints.in_ring(Path("early/checkpoints"))[-1].write_text("damaged")
    assert best_epochs_in("early") == [1, 2]

    there = []
    accuracies_are(monkeypatch, 0.2, 0.25, 0.3, before=lambda: there.append(best_epochs_in("early")))
    assert main(["train", "--resume", "early"]) == 0
    # That of the second is of another second epoch: it stays until there is one again.
    assert there == [[1, 2], [1], [1]]
    out = capsys.readouterr().out
    assert "best-epoch-2.safetensors: from the training that was lost; kept until that epoch is trained again" in out
    assert "the weights of epoch 1 are the result\n" in out
    assert Path("early", runs.WEIGHTS).read_bytes() == best_of_the_first
    assert best_epochs_in("early") == [1]


@pytest.mark.parametrize("minutes", ["0", "10"])
def test_weights_that_no_checkpoint_wants_go_when_there_are_better_ones(colours, monkeypatch, minutes):
    there = []
    accuracies_are(monkeypatch, 0.1, 0.2, 0.3, 0.25, 0.4, before=lambda: there.append(best_epochs_in("run")))
    assert train(colours, "--epochs", "5", "--checkpoint-minutes", minutes, "--out", "run") == 0
    assert there == [[], [1], [2], [3], [3]]
    assert best_epochs_in("run") == [5]


@pytest.mark.parametrize("part", ["confusion_figure", "training_figure", "sample", "first_kernels"])
def test_a_drawing_that_fails_is_a_warning(colours, monkeypatch, capsys, part):
    def fail(*args):
        raise KeyError("a mistake of matplotlib")

    monkeypatch.setattr(f"alexnet_np.figures.{part}", fail)
    assert train(colours, "--out", "run") == 0
    figure = "confusion.png" if part == "confusion_figure" else "figure.png"
    out, err = capsys.readouterr()
    assert f"Warning: {figure} is missing ('a mistake of matplotlib')" in out
    assert err == ""
    assert files("run") == FILES - {figure}
    if part == "confusion_figure":
        assert main(["evaluate", "--weights", "run", "--out", "there"]) == 0
        out, err = capsys.readouterr()
        assert "top-1" in out
        assert err == "Warning: confusion.png is missing ('a mistake of matplotlib')\n"


def test_a_table_that_cannot_be_written_is_named():
    with pytest.raises(OSError, match=r"nowhere.history\.csv cannot be written \(.*No such file"):
        runs.write_history(Path("nowhere"), [])


def test_tensorboard_writes_events_and_says_what_it_needs(colours, monkeypatch, capsys):
    assert train(colours, "--tensorboard", "--out", "with") == 0
    assert files("with") == {*FILES, "events"}
    monkeypatch.setattr("alexnet_np.cli.train.find_spec", lambda name: None)
    assert "tensorboardX is not installed" in fails(capsys, "train", "--data", colours, "--tensorboard")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("buffer", [100, 10**6])  # bytes: it is a step's events that fail, or an epoch's
def test_events_that_cannot_be_written_are_told_of_once_and_end(colours, monkeypatch, capsys, buffer):
    opened = []

    def open_full(path):
        opened.append(open("/dev/full", "wb", buffering=buffer))  # noqa: SIM115
        return opened[-1]

    monkeypatch.setattr("tensorboardX.record_writer.open_file", open_full)
    assert train(colours, "--tensorboard", "--out", "run") == 0
    out = capsys.readouterr().out
    assert out.count("No space left on device") == 1
    assert re.search("Warning: run.events.events.* cannot be written .*; it ends here, the training goes on", out)
    assert files("run") == {*FILES, "events"}
    assert [file.closed for file in opened] == [True]


def test_a_folder_for_events_that_cannot_be_made_is_told_of(colours, monkeypatch, capsys):
    monkeypatch.setattr(runs, "EVENTS", "run.json")  # a file
    assert train(colours, "--tensorboard", "--out", "run") == 0
    assert re.search("Warning: .*File exists.*; the training goes on", capsys.readouterr().out)


def test_resume_takes_no_other_settings_and_no_finished_run(finished, capsys):
    assert "leave out --epochs, --lr" in fails(capsys, "train", "--resume", finished, "--lr", "1", "--epochs", "2")
    assert "is finished" in fails(capsys, "train", "--resume", finished)
    assert "no folder of a training run" in fails(capsys, "train", "--resume", "nowhere")


@pytest.mark.parametrize("setting", [["--freeze", "features"], ["--size", "70"]])
def test_resume_takes_no_setting_that_the_run_left_open(finished, capsys, setting):
    assert f"leave out {setting[0]}" in fails(capsys, "train", "--resume", finished, *setting)


def test_resume_refuses_other_data_than_the_run_began_with(tmp_path, monkeypatch, capsys):
    folder = write_class_folders(tmp_path / "data", 5)
    np.save("mean.npy", np.full((73, 73, 3), 100, np.float32))
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        assert train(folder, "--mean-image", "mean.npy", "--out", "run") == 130
    Path("mean.npy").unlink()  # the run has its own copy
    (folder / "red" / "1.png").rename(folder / "blue" / "9.png")
    said = fails(capsys, "train", "--resume", "run")
    assert re.search(
        r"began with: other training images \(the first that differs is .*blue.\d\.png\) and other test", said
    )
    (folder / "blue" / "9.png").rename(folder / "red" / "1.png")
    settings = (Path("run") / runs.SETTINGS).read_text()
    (Path("run") / runs.SETTINGS).write_text(settings.replace('"mirror": true', '"mirror": false'))
    assert "began with: other preparation;" in fails(capsys, "train", "--resume", "run")
    (Path("run") / runs.SETTINGS).write_text(settings)
    assert main(["train", "--resume", "run"]) == 0


def test_nan_stops_the_run_with_the_layer_and_leaves_nothing(colours, monkeypatch, capsys):
    def broken(*args, **kwargs):
        net = small_network(*args, **kwargs)
        net.state_dict()["classifier.1.weight"][0, 0] = np.nan
        return net

    monkeypatch.setattr(models, "alexnet", broken)
    capsys.readouterr()
    assert train(colours) == 2
    assert "epoch 1, step 1: NaN or infinity in classifier.1.weight" in capsys.readouterr().err
    assert files("runs") == set()


def test_pictures_that_are_none_are_told_of_after_the_epoch(tmp_path, capsys):
    folder = write_class_folders(tmp_path / "data", 4)
    for path in (folder / "red").iterdir():
        path.write_text("no image")
    assert train(folder) == 0
    out = capsys.readouterr().out
    assert out.count("Warning: 4 pictures could not be read") == 1  # after the first of three epochs
    assert re.search(r"red.\d\.png: .*not an image", out)
    with (tmp_path / "runs" / "data" / "skipped.csv").open(newline="") as file:
        assert {Path(row["picture"]).name for row in csv.DictReader(file)} == {f"{i}.png" for i in range(4)}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems' file names are text")
def test_names_that_are_no_text_are_told_of_and_listed(tmp_path, capsys):
    folder = write_class_folders(tmp_path / "data", 4)
    path = folder / "red" / os.fsdecode(b"caf\xe9.png")
    path.write_text("no image")
    assert train(folder, "--checkpoint-minutes", "0", "--out", "run") == 0
    out = capsys.readouterr().out
    assert r"red/caf\udce9.png: " in out
    assert "could not be written" not in out
    assert runs.read_skipped(Path("run")).keys() == {str(path)}
    assert os.fsencode(path) in Path("run/skipped.csv").read_bytes()
    assert main(["check-data", str(folder)]) == 1
    assert r"caf\udce9.png: " in capsys.readouterr().out


def test_files_that_are_passed_over_are_told_of_once(tmp_path, capsys):
    folder = write_class_folders(tmp_path / "data", 3)
    for name in ("red/a.heic", "red/b.HEIC", "blue/notes.txt", "blue/.hidden"):
        (folder / name).write_text("")
    assert train(folder) == 0
    told = "Warning: files are ignored, because their names end in no format that is read: 1 .txt, 2 .heic ("
    assert capsys.readouterr().out.count(told) == 1


@pytest.mark.parametrize("steps", [1, 2])  # of one an epoch: before the first epoch has ended, and after
def test_a_resumed_run_keeps_the_list_of_those_that_could_not_be_read(tmp_path, monkeypatch, capsys, steps):
    folder = write_class_folders(tmp_path / "data", 5)
    mended = (folder / "red" / "1.png").read_bytes()
    for name in ("red", "blue"):
        (folder / name / "1.png").write_bytes(bytes(len(mended)))
    with monkeypatch.context() as patch:
        stop_after(patch, steps)
        assert train(folder, "--out", "run", "--batch-size", "12") == 130
    (folder / "red" / "1.png").write_bytes(mended)
    assert main(["train", "--resume", "run"]) == 0
    assert capsys.readouterr().out.count("Warning: 2 pictures could not be read") == 1
    assert set(runs.read_skipped(Path("run"))) == {str(folder / name / "1.png") for name in ("red", "blue")}


def test_a_list_that_could_not_be_written_is_written_later(tmp_path, monkeypatch, capsys):
    folder = write_class_folders(tmp_path / "data", 5)
    (folder / "red" / "1.png").write_text("no image")
    write, failed = runs.write_skipped, []

    def write_at_last(*args):
        if not failed:
            failed.append(1)
            raise OSError("disk full")
        write(*args)

    monkeypatch.setattr(runs, "write_skipped", write_at_last)
    assert train(folder, "--out", "run") == 0
    assert set(runs.read_skipped(Path("run"))) == {str(folder / "red" / "1.png")}
    assert capsys.readouterr().out.count("1 picture could not be read") == 2


def test_data_without_a_readable_picture_stop_the_run_and_leave_nothing(tmp_path, capsys):
    folder = write_class_folders(tmp_path / "data", 3)
    for path in folder.glob("*/*"):
        path.write_text("no image")
    assert train(folder) == 2
    assert "none of the 6 pictures can be read" in capsys.readouterr().err
    assert files("runs") == set()


def test_a_test_set_without_a_readable_picture_stops_the_run(tmp_path, capsys):
    folder = tmp_path / "data"
    write_class_folders(folder / "train", 2)
    for path in write_class_folders(folder / "val", 1).glob("*/*"):
        path.write_text("no image")
    assert train(folder) == 2
    assert "train: none of the 3 test pictures can be read" in capsys.readouterr().err
    assert files("runs/data/checkpoints") == {"00000002.safetensors"}


def test_bad_input_to_train_is_said_in_a_sentence_and_leaves_nothing(tmp_path, colours, capsys):
    (tmp_path / "empty").mkdir()
    assert "expected a folder for each class" in fails(capsys, "train", "--data", "empty")
    assert "there is no folder" in fails(capsys, "train", "--data", "nowhere")
    (tmp_path / "file").write_text("")
    assert "file" in fails(capsys, "train", "--data", colours, "--out", "file/run")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    assert "full is not empty" in fails(capsys, "train", "--data", colours, "--out", "full")
    assert "227, 227" in fails(capsys, "train", "--data", colours, "--model", "alexnet_keras", "--size", "64")
    assert "warmup" in fails(capsys, "train", "--data", colours, "--epochs", "1", "--warmup", "1")
    assert files(tmp_path) == {"empty", "file", "full"}


@pytest.mark.parametrize(
    "argv",
    [
        ["--epochs", "0"],
        ["--batch-size", "-3"],
        ["--lr", "fast"],
        ["--lr", "nan"],
        ["--seed", "1.5"],
        ["--foo"],
        ["foo"],
    ],
)
def test_arguments_that_make_no_sense_are_refused(argv, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", *argv])
    assert stopped.value.code == 2
    assert argv[-1] in capsys.readouterr().err


@pytest.mark.skipif(backend.gpu_problem() is None, reason="there is a GPU")
@pytest.mark.parametrize("command", [["train"], ["evaluate"], ["predict", "red.png"]])
def test_a_gpu_that_is_not_there_is_said_in_a_sentence(finished, colours, command, capsys):
    shutil.copy(colours / "red" / "0.png", "red.png")
    assert "device gpu" in fails(capsys, *command, "--device", "gpu")
    assert files("runs") == {"colours"}


def test_a_precision_of_the_gpu_is_refused_elsewhere(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "precision: device cpu has only its own" in fails(capsys, "train", "--precision", "tf32")
    assert not list(tmp_path.iterdir())


def test_a_run_says_what_gpu_it_was_trained_on(colours, finished, monkeypatch):
    assert "gpu" not in json.loads((finished / runs.SETTINGS).read_text())["made_with"]
    runtime = SimpleNamespace(
        runtimeGetVersion=lambda: 13000,
        driverGetVersion=lambda: 13010,
        getDeviceProperties=lambda number: {"name": f"GPU number {number}".encode()},
    )
    cuda = SimpleNamespace(runtime=runtime, Device=lambda: SimpleNamespace(id=1))
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(__version__="14.2.0", cuda=cuda))
    runs.Settings.read(finished).write(Path(), "gpu", {})
    made_with = json.loads(Path(runs.SETTINGS).read_text())["made_with"]
    assert made_with["cupy"] == "14.2.0"
    assert made_with["cuda"] == "runtime 13000, driver 13010"
    assert made_with["gpu"] == "GPU number 1"


# ---- evaluate and predict


def test_evaluate_tests_the_newest_run_on_its_own_test_pictures(finished, capsys):
    history = read_history(finished)
    capsys.readouterr()
    assert main(["evaluate", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["images"] == 3
    assert result["loss"] == pytest.approx(float(history[-1]["test_loss"]), rel=1e-6)
    assert result["top1"] == float(history[-1]["test_accuracy"])
    assert main(["evaluate"]) == 0
    assert f"top-1 {100 * result['top1']:.1f} %" in capsys.readouterr().out


def test_evaluate_takes_other_data(tmp_path, finished, capsys):
    other = write_class_folders(tmp_path / "other", 5, seed=1)
    capsys.readouterr()
    assert main(["evaluate", "--data", str(other), "--weights", str(finished), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["images"], result["notes"]) == (15, [])


def test_evaluate_knows_the_runs_own_data_in_another_place(tmp_path, finished, colours, capsys):
    capsys.readouterr()
    assert main(["evaluate", "--json"]) == 0
    expected = json.loads(capsys.readouterr().out)
    shutil.copytree(colours, tmp_path / "moved")
    for weights_of in (finished, finished / runs.WEIGHTS):
        assert main(["evaluate", "--weights", str(weights_of), "--data", "moved", "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert (result["images"], result["loss"]) == (3, expected["loss"])
        [note] = result["notes"]
        assert note == f"moved has the images of {finished}: only those that were not trained on are tested"
    settings = finished / runs.SETTINGS
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"data": "nowhere"}))
    assert "name its new place with --data" in fails(capsys, "evaluate")


def test_evaluate_writes_the_confusion_matrix_where_it_is_asked_to(tmp_path, finished):
    other = write_class_folders(tmp_path / "other", 5, seed=1)
    assert main(["evaluate", "--data", str(other), "--weights", str(finished), "--out", "there/too"]) == 0
    assert files("there/too") == {"classes.csv", "confusion.csv", "confusion.png"}
    with Path("there/too/confusion.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["class", "blue", "green", "red"]
    assert [row[0] for row in rows] == ["blue", "green", "red"]
    assert [sum(map(int, row[1:])) for row in rows] == [5, 5, 5]
    with Path("there/too/classes.csv").open(newline="") as file:
        accuracies = {row["class"]: float(row["accuracy"]) for row in csv.DictReader(file)}
    assert accuracies == {row[0]: int(row[number]) / 5 for number, row in enumerate(rows, 1)}


def test_evaluate_refuses_what_does_not_fit(tmp_path, finished, colours, capsys):
    (write_class_folders(tmp_path / "other", 1) / "red").rename(tmp_path / "other" / "scarlet")
    assert "unknown classes 'scarlet'" in fails(capsys, "evaluate", "--data", "other")
    assert "there is no file nowhere" in fails(capsys, "evaluate", "--weights", "nowhere.safetensors")
    assert "no folder of a training run" in fails(capsys, "evaluate", "--weights", tmp_path)
    (tmp_path / "text.safetensors").write_text("no weights")
    assert "is not a file of weights" in fails(capsys, "evaluate", "--weights", "text.safetensors", "--data", colours)
    cut = (finished / "weights.safetensors").read_bytes()[:-10]
    (finished / "weights.safetensors").write_bytes(cut)
    assert "cannot be read as safetensors" in fails(capsys, "evaluate")
    shutil.rmtree("runs")
    assert "there is no run in runs/" in fails(capsys, "evaluate")


def test_predict_gives_probabilities_by_class(finished, colours, capsys):
    images = [str(colours / name / "0.png") for name in ("red", "blue")]
    capsys.readouterr()
    assert main(["predict", "--json", *images]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [entry["image"] for entry in result] == images
    for entry in result:
        shares = [guess["probability"] for guess in entry["top"]]
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert shares == sorted(shares, reverse=True)
        assert {guess["class"] for guess in entry["top"]} == {"blue", "green", "red"}
    assert main(["predict", *images]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == images[0]
    assert f"{100 * result[0]['top'][0]['probability']:5.1f} %  {result[0]['top'][0]['class']}" in out


def test_predict_refuses_what_is_no_image(finished, capsys):
    Path("text.jpg").write_text("no image")
    assert "text.jpg: is not an image" in fails(capsys, "predict", "text.jpg")
    assert "there is no file nowhere.png" in fails(capsys, "predict", "nowhere.png")


# ---- the others


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--style", "torch"], "Trainable params: 50,003"),
        (["--style", "keras"], 'Model: "sequential"'),
        (["--style", "keras3"], "┏"),
        (["--style", "repr"], "(classifier): Sequential("),
        (["--style", "costs", "--batch-size", "8"], "multiply-adds"),
    ],
)
def test_summary_prints_the_table(argv, expected, capsys):
    size = [] if "repr" in argv else ["--size", "64"]
    assert main(["summary", *size, "--num-classes", "3", *argv]) == 0
    out = capsys.readouterr().out
    if "Trainable" in expected:
        parameters = sum(p.data.size for p in small_network().parameters())
        expected = f"Trainable params: {parameters:,}"
    assert expected in out


def test_summary_json_has_a_row_for_each_layer(capsys):
    assert main(["summary", "--size", "64", "--num-classes", "3", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == len(list(small_network().walk()))
    assert rows[0]["output_shape"] == [1, 7, 7, 8]


def test_gradcheck_prints_the_table(capsys):
    assert main(["gradcheck"]) == 0
    out = capsys.readouterr().out
    for op in ("Conv2d", "MaxPool2d", "LocalResponseNorm", "softmax_cross_entropy", "all gradients are right"):
        assert op in out


def test_gradcheck_fails_when_a_gradient_is_wrong(monkeypatch, capsys):
    row = gradcheck.Row(
        op="Linear", tensor="weight", method="entries", tolerance=1e-7, error=1e-12, compared=9, kinks=0
    )
    wrong = replace(row, tensor="bias", error=0.5)
    blind = replace(row, tensor="x", error=float("nan"), compared=0, kinks=3)
    for rows, code in (([row], 0), ([row, wrong], 1), ([row, blind], 1)):
        monkeypatch.setattr(gradcheck, "report", lambda *args, rows=rows: gradcheck.Result(rows))
        capsys.readouterr()
        assert main(["gradcheck"]) == code
        assert ("NOT ALL" in capsys.readouterr().out) == bool(code)
        assert main(["gradcheck", "--json"]) == code
        assert len(json.loads(capsys.readouterr().out)) == len(rows)


def test_help_and_version_are_there_for_every_command(capsys):
    for command in ("train", "evaluate", "predict", "summary", "gradcheck", "benchmark", "doctor"):
        with pytest.raises(SystemExit) as stopped:
            main([command, "--help"])
        assert stopped.value.code == 0
        assert command in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"alexnet-np {alexnet_np.__version__}\n"


# ---- processes


def run_module(*argv, **options):
    return subprocess.run(
        [sys.executable, "-m", "alexnet_np", *argv], capture_output=True, text=True, timeout=120, **options
    )


def test_nothing_heavy_is_imported_before_it_is_needed():
    code = """if True:
        import sys
        from alexnet_np.cli import main
        try: main(["train", "--help"])
        except SystemExit: pass
        heavy = {"cupy", "matplotlib", "numba", "PIL", "safetensors", "sklearn", "torch", "tqdm"}
        print("heavy:", sorted(heavy & sys.modules.keys()))
    """
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout.splitlines()[-1] == "heavy: []"


def test_a_closed_pipe_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [sys.executable, "-m", "alexnet_np", "summary"], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60
    )
    os.close(writing)
    assert (result.returncode, result.stderr) == (1, "")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
def test_the_whole_network_from_start_to_ctrl_c_to_the_end(tmp_path, colours):
    """With the real AlexNet, in processes of their own."""
    argv = [sys.executable, "-m", "alexnet_np", "train", "--data", colours, "--size", "63", "--batch-size", "6"]
    process = subprocess.Popen(
        [*argv, "--epochs", "2", "--out", "run"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for line in process.stdout:
        if line.startswith("epoch 1/2"):
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "--resume run" in out
    assert (tmp_path / "run" / "checkpoints" / "00000003.safetensors").stat().st_size > 400_000_000

    resumed = run_module("train", "--resume", "run")
    assert resumed.returncode == 0, resumed.stderr
    assert files(tmp_path / "run") == FILES
    for line in resumed.stdout.splitlines()[-1:]:
        assert re.fullmatch(r"colours: 2 epochs in \d+ s, test accuracy \d+\.\d %", line)

    # A file of weights alone is enough.
    shutil.move(tmp_path / "run" / "weights.safetensors", tmp_path / "weights.safetensors")
    result = run_module("evaluate", "--weights", "weights.safetensors", "--data", str(colours), "--json")
    assert json.loads(result.stdout)["images"] == 15
    result = run_module("predict", "--weights", "weights.safetensors", str(colours / "red" / "0.png"))
    assert {line.split()[-1] for line in result.stdout.splitlines()[1:]} == {"blue", "green", "red"}
    assert result.stderr == ""
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "weights.safetensors").unlink()
