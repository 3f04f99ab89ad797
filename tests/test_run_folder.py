"""The folder of a run: used by one process, finished, cleaned up, moved, deleted."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from pictures import write_class_folders

from alexnet_np import checkpoints, run_lock, runs, training
from alexnet_np.cli import main
from alexnet_np.cli.keeping import Keeper
from alexnet_np.run_lock import FolderGoneError, FolderInUseError, RunLock

ARGUMENTS = ["--size", "64", "--epochs", "3", "--batch-size", "5"]
pytestmark = pytest.mark.usefixtures("small_and_elsewhere", "undrawn")
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not remove files that are open")


def train(data, *more):
    return main(["train", "--data", str(data), "--out", "run", *ARGUMENTS, *more])


def names(folder="run"):
    return sorted(path.name for path in Path(folder).iterdir())


def content(folder="run"):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in Path(folder).rglob("*") if path.is_file()}


def fails(capsys, *argv):
    capsys.readouterr()
    assert main([str(argument) for argument in argv]) == 2
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return out + err


def interrupt(monkeypatch, owner, name, when=lambda *args: True):
    """A kill, as far as files can tell, instead of this call."""
    call = getattr(owner, name)

    def killed(*args, **kwargs):
        if when(*args):
            raise KeyboardInterrupt
        return call(*args, **kwargs)

    monkeypatch.setattr(owner, name, killed)


@pytest.fixture
def whole(colours):
    assert train(colours, "--out", "whole") == 0
    return Path("whole")


@pytest.fixture
def stopped(colours, monkeypatch):
    """A run that was killed after four of nine steps."""
    with monkeypatch.context() as patch:
        interrupt(patch, checkpoints, "save_in_ring", lambda folder, step, checkpoint: step == 5)
        assert train(colours, "--checkpoint-minutes", "0") == 130
    return Path("run")


# ---- one process


HOLDER = """
import os, pathlib, sys
from alexnet_np.run_lock import RunLock
lock = RunLock(pathlib.Path("run"))
print(os.getpid(), flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_told_who_trains_there_and_changes_nothing(stopped, colours, capsys):
    process = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        holder = int(process.stdout.readline())  # on Windows the process that we have started only starts it
        before = content()
        said = [fails(capsys, "train", "--resume", "run"), fails(capsys, "train", "--data", colours, "--out", "run")]
        assert content() == before
    finally:
        process.kill()
        process.communicate()
    for sentence in said:
        assert f"run is in use by process {holder} on " in sentence
    # A kill ends the lock. The file that it leaves is taken over.
    assert run_lock.NAME in names()
    assert main(["train", "--resume", "run"]) == 0
    assert run_lock.NAME not in names()


def test_a_run_holds_the_lock_from_its_beginning_to_its_end(colours, monkeypatch):
    def look(owner, name):
        call = getattr(owner, name)

        def looking(*args):
            looked.append(name)
            with pytest.raises(FolderInUseError, match=f"process {os.getpid()} on "):
                RunLock(Path("run"))
            return call(*args)

        monkeypatch.setattr(owner, name, looking)

    looked = []
    look(runs.Settings, "write")
    look(Keeper, "epoch")
    look(Keeper, "_figures")
    assert train(colours) == 0
    assert looked == ["write", *["epoch"] * 3, "_figures"]
    assert run_lock.NAME not in names()


def test_a_run_that_is_stopped_leaves_no_lock(stopped):
    assert run_lock.NAME not in names(stopped)


@posix
def test_a_lock_is_exclusive_whatever_comes_between(tmp_path, monkeypatch):
    """Who has opened the file when it is unlocked and removed does not lock a file that nobody else will find."""
    first = RunLock(tmp_path)
    lock, calls = run_lock._lock, []

    def release_first(descriptor):
        if not calls:
            calls.append(1)
            first.__exit__()
        lock(descriptor)

    monkeypatch.setattr(run_lock, "_lock", release_first)
    with RunLock(tmp_path) as second:
        assert second.path.exists()
        with pytest.raises(FolderInUseError):
            RunLock(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_locked_is_told_of_and_trained_in(colours, monkeypatch, capsys):
    def refuse(descriptor):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(run_lock, "_lock", refuse)
    assert train(colours) == 0
    assert "Warning: run cannot be locked ([Errno 95] Operation not supported): make sure" in capsys.readouterr().out
    assert run_lock.NAME not in names()


def test_a_full_disk_does_not_unlock_a_folder(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_lock.os, "write", full)
    with RunLock(tmp_path) as lock:
        assert lock.problem is None
        with pytest.raises(FolderInUseError, match="is in use by another process: wait"):
            RunLock(tmp_path)
        lock.check()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_with_the_lock_of_a_kill_is_empty(colours):
    Path("run").mkdir()
    Path("run", run_lock.NAME).write_text("process 1 on moon")
    assert train(colours) == 0
    assert run_lock.NAME not in names()


@pytest.mark.parametrize("out", ["file", "file/run"])
def test_a_folder_that_cannot_be_made_is_named(colours, capsys, out):
    Path("file").write_text("")
    assert train(colours) == 0
    for command in (["train", "--data", colours, *ARGUMENTS], ["evaluate", "--weights", "run"]):
        assert f"{Path(out)}: this folder cannot be made (" in fails(capsys, *command, "--out", out)


# ---- finished, but not cleaned up


@pytest.mark.parametrize("moment", ["remove_ring", "remove_best"])
def test_a_run_that_was_killed_after_its_weights_is_cleaned_up(whole, colours, monkeypatch, capsys, moment):
    owner = checkpoints if moment == "remove_ring" else runs
    with monkeypatch.context() as patch:
        interrupt(patch, owner, moment, lambda folder, **_: Path("run", runs.WEIGHTS).exists())
        assert train(colours, "--checkpoint-minutes", "0") == 130
    runs.best_path(Path("run"), 99).write_bytes(b"outdone")
    Path("run", run_lock.NAME).write_text("process 1 on moon")
    for name in ("figure.png.part", "best-epoch-2.safetensors.part", "mine.part"):
        Path("run", name).mkdir()
    capsys.readouterr()
    assert main(["train", "--resume", "run"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("run was finished, but its process ended before it had cleaned up. Removed: ")
    assert ("checkpoints/" in out) == (moment == "remove_ring")
    assert all(name in out for name in ("figure.png.part", "best-epoch-2.safetensors.part", "best-epoch-99"))
    assert set(names()) == {*names(whole), "mine.part"}
    for name in (runs.WEIGHTS, runs.CONFUSION, runs.CLASSES):
        assert Path("run", name).read_bytes() == (whole / name).read_bytes()
    assert "is finished: there is nothing to resume" in fails(capsys, "train", "--resume", "run")


def test_the_clean_up_keeps_the_history_and_says_how_to_have_tables(colours, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        interrupt(patch, checkpoints, "remove_ring")
        assert train(colours, "--checkpoint-minutes", "0") == 130
    for name in (runs.HISTORY, runs.CONFUSION):
        Path("run", name).unlink()
    assert main(["train", "--resume", "run"]) == 0
    assert "To write the tables of its test: alexnet-np evaluate --weights run --out run" in capsys.readouterr().out
    assert [line.epoch for line in runs.read_history(Path("run"))][:2] == [1, 2]
    assert main(["evaluate", "--weights", "run", "--out", "run"]) == 0


def test_weights_that_are_not_whole_cost_no_checkpoint(colours, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        interrupt(patch, checkpoints, "remove_ring")
        assert train(colours, "--checkpoint-minutes", "0") == 130
    Path("run", runs.WEIGHTS).write_bytes(b"not whole")
    before = content()
    assert "weights.safetensors" in fails(capsys, "train", "--resume", "run")
    assert content() == before


def test_a_kill_before_the_weights_leaves_a_run_that_is_resumed(whole, colours, monkeypatch):
    """The test of the best epoch after an early stop comes before them: nothing but the figures comes after."""
    with monkeypatch.context() as patch:
        interrupt(patch, Keeper, "_deliver")
        assert train(colours, "--checkpoint-minutes", "0") == 130
    assert runs.WEIGHTS not in names()
    assert main(["train", "--resume", "run"]) == 0
    assert Path("run", runs.WEIGHTS).read_bytes() == (whole / runs.WEIGHTS).read_bytes()


# ---- deleted, moved, replaced


def at_the_end_of_epoch(monkeypatch, number, do):
    end_epoch = training.Trainer.end_epoch

    def end(trainer, result):
        line = end_epoch(trainer, result)
        if line.epoch == number:
            do()
        return line

    monkeypatch.setattr(training.Trainer, "end_epoch", end)


@posix
@pytest.mark.parametrize("epoch", [1, 3])
@pytest.mark.parametrize("how", ["deleted", "moved"])
def test_a_folder_that_is_deleted_or_moved_stops_the_run(colours, monkeypatch, capsys, how, epoch):
    do = (lambda: shutil.rmtree("run")) if how == "deleted" else (lambda: Path("run").rename("there"))
    with monkeypatch.context() as patch:
        at_the_end_of_epoch(patch, epoch, do)
        said = fails(capsys, "train", "--data", colours, "--out", "run", *ARGUMENTS, "--checkpoint-minutes", "0")
    assert "run: the folder of this run was deleted, moved or replaced. The training stops, and writes" in said
    assert f"epoch {epoch + 1}/3" not in said
    assert "is kept" not in said
    assert not Path("run").exists()
    if how == "moved":
        assert main(["train", "--resume", "there"]) == 0


@posix
def test_a_folder_that_is_deleted_with_the_result_in_it_is_no_success(colours, monkeypatch, capsys):
    monkeypatch.setattr(Keeper, "_figures", lambda keeper, result: shutil.rmtree("run") or [])
    assert "was deleted, moved or replaced" in fails(capsys, "train", "--data", colours, "--out", "run", *ARGUMENTS)
    assert not Path("run").exists()


@posix
def test_a_run_does_not_write_into_the_folder_of_another(colours, monkeypatch, capsys):
    def replace():
        shutil.rmtree("run")
        Path("run").mkdir()
        held.append(RunLock(Path("run")))
        Path("run", runs.CONFIG).write_text("of another")
        before.append(content())

    held, before = [], []
    at_the_end_of_epoch(monkeypatch, 1, replace)
    assert "was deleted, moved or replaced" in fails(
        capsys, "train", "--data", colours, "--out", "run", *ARGUMENTS, "--checkpoint-minutes", "0"
    )
    assert content() == before[0]
    held[0].__exit__()


@posix
def test_a_lock_file_that_somebody_removed_is_no_trouble(colours, monkeypatch):
    at_the_end_of_epoch(monkeypatch, 1, Path("run", run_lock.NAME).unlink)
    assert train(colours) == 0


@posix
def test_a_file_system_that_does_not_answer_is_no_folder_that_has_gone(tmp_path, monkeypatch):
    with RunLock(tmp_path) as lock:

        def stale(self):
            raise OSError(116, "Stale file handle")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "stat", stale)
            lock.check()
        lock.check()
        lock.path.unlink()
        lock.check()
        tmp_path.rmdir()
        with pytest.raises(FolderGoneError):
            lock.check()
        tmp_path.mkdir()  # another one
        with pytest.raises(FolderGoneError):
            lock.check()


# ---- the data in another place


def test_a_run_goes_on_when_data_and_folder_have_moved(whole, colours, tmp_path, monkeypatch, capsys):
    shutil.copytree(colours, "old")
    with monkeypatch.context() as patch:
        interrupt(patch, checkpoints, "save_in_ring", lambda folder, step, checkpoint: step == 5)
        assert train("old", "--checkpoint-minutes", "0") == 130
    Path("new").mkdir()
    Path("old").rename(tmp_path / "new" / "data")
    Path("run").rename(tmp_path / "new" / "run")
    settings = tmp_path / "new" / "run" / runs.SETTINGS
    monkeypatch.chdir(tmp_path / "new")
    sentence = f"there is no folder {tmp_path / 'old'}; where the images have moved to: alexnet-np train --resume run"
    assert sentence in fails(capsys, "train", "--resume", "run")
    with monkeypatch.context() as patch:
        interrupt(patch, checkpoints, "save_in_ring", lambda folder, step, checkpoint: step == 6)
        assert main(["train", "--resume", "run", "--data", "data"]) == 130
    assert "The images are the same, in another place: from here on run takes them from" in capsys.readouterr().out
    assert json.loads(settings.read_text())["data"] == str(tmp_path / "new" / "data")
    config = tomllib.loads(Path("run", runs.CONFIG).read_text())
    assert (config["data"], config["epochs"]) == (str(tmp_path / "new" / "data"), 3)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert main(["train", "--resume", "new/run", "--data", "new/data/"]) == 0
    assert "in another place" not in capsys.readouterr().out  # the same place in other words
    resumed, expected = (Path(run, runs.WEIGHTS).read_bytes() for run in ("new/run", whole))
    assert resumed == expected


def test_other_images_in_the_new_place_are_refused_and_nothing_is_changed(stopped, tmp_path, capsys):
    other = write_class_folders(tmp_path / "other", 5, seed=1)
    before = content()
    said = fails(capsys, "train", "--resume", "run", "--data", "other")
    assert "the data are not those that the run began with: other training images (the first that differs is" in said
    assert str(other) in said
    assert content() == before
    shutil.rmtree(other / "red")
    assert f"{other} has other classes than when run began" in (
        fails(capsys, "train", "--resume", "run", "--data", "other")
    )


@pytest.mark.parametrize("same", [True, False])
def test_without_a_checkpoint_the_images_are_compared_with_what_the_run_began_with(
    whole, stopped, colours, tmp_path, capsys, same
):
    checkpoints.remove_ring(stopped / runs.CHECKPOINTS)
    if same:
        shutil.copytree(colours, "data")
        assert main(["train", "--resume", "run", "--data", "data"]) == 0
        assert Path("run", runs.WEIGHTS).read_bytes() == (whole / runs.WEIGHTS).read_bytes()
    else:
        write_class_folders(tmp_path / "data", 5, seed=1)
        assert "not those that the run began with: other training images and other test images;" in (
            fails(capsys, "train", "--resume", "run", "--data", "data")
        )


def test_evaluate_says_where_the_data_have_changed_since_the_training(colours, capsys):
    """Another image makes another fifth the one that is held out."""
    shutil.copytree(colours, "data")
    assert train("data") == 0
    notes = []
    for name in (None, "another.png"):
        if name:
            shutil.copy("data/red/0.png", f"data/red/{name}")
        capsys.readouterr()
        assert main(["evaluate", "--weights", "run", "--json"]) == 0
        notes.append(json.loads(capsys.readouterr().out)["notes"])
    data = Path("data").resolve()
    assert notes == [[], [f"{data} has changed since the training: some images of this test may have been trained on"]]


def test_weights_and_mean_image_may_be_gone_when_a_run_is_resumed(whole, colours, monkeypatch):
    shutil.copy(whole / runs.WEIGHTS, "first.safetensors")
    np.save("mean.npy", np.full((73, 73, 3), 100, np.float32))
    options = ["--weights", "first.safetensors", "--mean-image", "mean.npy", "--checkpoint-minutes", "0"]
    assert train(colours, *options, "--out", "unbroken") == 0
    with monkeypatch.context() as patch:
        interrupt(patch, checkpoints, "save_in_ring", lambda folder, step, checkpoint: step == 5)
        assert train(colours, *options) == 130
    for name in ("first.safetensors", "mean.npy"):
        Path(name).unlink()
    assert main(["train", "--resume", "run"]) == 0
    assert Path("run", runs.WEIGHTS).read_bytes() == Path("unbroken", runs.WEIGHTS).read_bytes()


def test_what_a_kill_had_begun_is_removed(stopped, capsys):
    for name in ("figure.png.part", "history.csv.part", "mine.part"):
        (stopped / name).mkdir()
    capsys.readouterr()
    assert main(["train", "--resume", "run"]) == 0
    out = capsys.readouterr().out
    assert "Removed what was begun when the process ended: figure.png.part, history.csv.part" in out
    assert [path.name for path in stopped.glob("*.part")] == ["mine.part"]


# ---- divergence


@pytest.mark.parametrize("minutes", ["0", "10"])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_run_that_diverges_in_its_last_step_fails(colours, monkeypatch, capsys, steps, minutes):
    """The step itself is finite: it is the weights that it makes that are not."""
    update = training.optim.SGD.step
    taken = []

    def overflow(sgd):
        taken.append(1)
        update(sgd)
        if len(taken) == steps:
            sgd.groups[0].parameters[0].data[...] = np.inf

    monkeypatch.setattr(training.optim.SGD, "step", overflow)
    said = fails(
        capsys, "train", "--data", colours, "--out", "run", *ARGUMENTS, "--epochs", "1", "--batch-size",
        str(15 // steps), "--checkpoint-minutes", minutes,
    )  # fmt: skip
    assert "NaN or infinity in " in said
    assert "features.0.weight" in said
    if minutes == "0" and steps == 3:  # the checkpoint from before is whole
        assert "alexnet-np train --weights run --lr RATE, with a lower rate" in said
        checkpoint, damages = checkpoints.newest_whole(Path("run", runs.CHECKPOINTS))
        assert damages == []
        assert all(np.isfinite(array).all() for array in checkpoint.tensors.values())
        assert runs.WEIGHTS not in names()
    else:
        assert not Path("run").exists()


def test_a_rate_that_is_far_too_high_fails_in_its_only_step(colours, capsys):
    options = ["--epochs", "1", "--batch-size", "15", "--lr", "1e38"]
    said = fails(capsys, "train", "--data", colours, "--out", "run", *ARGUMENTS, *options)
    assert "the test after step 1: " in said
    assert not Path("run").exists()


def test_answers_that_are_not_finite_fail_evaluate_and_predict(whole, colours, monkeypatch, capsys):
    open_trained = runs.open_trained

    def overflowing(*args):
        trained = open_trained(*args)
        for parameter in trained.net.parameters():
            parameter.data[...] = 3e38
        return trained

    monkeypatch.setattr(runs, "open_trained", overflowing)
    expected = "expected finite numbers, got NaN or infinity"
    assert expected in fails(capsys, "evaluate", "--weights", whole, "--json")
    assert expected in fails(capsys, "predict", "--weights", whole, "--json", colours / "red" / "0.png")


def test_json_has_null_where_there_is_no_figure(capsys):
    from alexnet_np.cli.common import print_json

    print_json({"a": [float("nan"), (float("inf"), 1.5)], "b": np.float64("-inf"), "c": "NaN"})
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {
        "a": [None, [None, 1.5]],
        "b": None,
        "c": "NaN",
    }


def test_the_accuracy_of_a_class_without_images_is_left_empty(tmp_path):
    result = runs.Evaluation(3, 1.0, 1.0, 1.0, np.diag([3, 0]))
    runs.write_evaluation(tmp_path, ["a", "b"], result)
    assert (tmp_path / runs.CLASSES).read_text().splitlines() == [
        "class,images,correct,accuracy",
        "a,3,3,1.0",
        "b,0,0,",
    ]
