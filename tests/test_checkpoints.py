"""Checkpoints: the same bits after a stop, a kill, a damage, a full disk."""

import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pictures import small_network
from pretended_gpu import gpu_book_problem, pretend_with_gpu_book
from processes import start
from small_training import PREPARATION, RECIPE, assert_same, new_trainer, pictures, train, weights_of, without_times

from alexnet_np import checkpoints, models, runs
from alexnet_np.checkpoints import Checkpoint
from alexnet_np.cli import main
from alexnet_np.training import Trainer

# Everything that has a state of its own.
EVERYTHING = replace(RECIPE, schedule="plateau", patience=0, ema=0.9, accumulate=2, early_stopping=3)


def small_checkpoint(step=1):
    return Checkpoint({"step": step}, {"net.a": np.full((3, 5), step, np.float32), "velocity.a": np.zeros(4)})


def damage(path, how):
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("no checkpoint")
    else:  # one bit among the weights, near the end
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])


damages = pytest.mark.parametrize("how", ["cut", "empty", "text", "bit"])


# ---- what is in them


@pytest.mark.parametrize("recipe", [RECIPE, EVERYTHING])
@pytest.mark.parametrize("stop_after", [1, 4, 6, 11])  # in the first epoch, at its end, later, before the last step
def test_a_run_that_was_stopped_and_resumed_has_the_bits_of_one_that_was_not(tmp_path, recipe, stop_after):
    whole = train(new_trainer(recipe))

    stopped = train(new_trainer(recipe), stop_after)
    checkpoints.write(tmp_path / "checkpoint", stopped.checkpoint())
    resumed = new_trainer(recipe)
    for p in resumed.net.parameters():
        p.data[...] = 7  # nothing may be left of these
    resumed.resume(checkpoints.read(tmp_path / "checkpoint"))
    train(resumed)

    assert_same(weights_of(resumed.net), weights_of(whole.net))
    assert_same(resumed.sgd.velocities, whole.sgd.velocities)
    assert without_times(resumed.history) == without_times(whole.history)
    if recipe.ema:
        assert_same(resumed.average.arrays, whole.average.arrays)
        assert resumed.schedule.state() == whole.schedule.state()


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_what_a_run_would_deliver_is_in_its_checkpoint(ema):
    trainer = train(new_trainer(replace(RECIPE, ema=ema)), 6)
    with trainer.delivered():
        assert_same(trainer.checkpoint().delivered_weights(), weights_of(trainer.net))


def test_a_checkpoint_of_another_network_or_data_set_changes_nothing():
    checkpoint = train(new_trainer(), 2).checkpoint()
    other = new_trainer(num_classes=4)
    before = weights_of(other.net)
    with pytest.raises(ValueError, match=r"classifier\.4\.weight: expected shape \(16, 4\), got \(16, 3\)"):
        other.resume(checkpoint)
    with pytest.raises(ValueError, match=r"that the run began with: other training images \(24 then, 25 now\)"):
        Trainer(other.net, pictures(25), other.test.dataset, PREPARATION, RECIPE).resume(checkpoint)
    assert_same(weights_of(other.net), before)
    assert (other.epoch, other.batch) == (0, 0)


@pytest.mark.skipif(gpu_book_problem() is not None, reason=str(gpu_book_problem()))
@pytest.mark.parametrize("stop_after", [3, 6])
def test_on_a_gpu_a_resumed_run_draws_the_masks_of_one_that_was_not_stopped(tmp_path, monkeypatch, stop_after):
    pretend_with_gpu_book(monkeypatch)

    def new():
        trainer = new_trainer()
        return Trainer(
            trainer.net.to("gpu"), trainer.train.dataset, trainer.test.dataset, trainer.train.preparation, RECIPE
        )

    whole = train(new())
    checkpoints.write(tmp_path / "checkpoint", train(new(), stop_after).checkpoint())
    resumed = new()
    resumed.resume(checkpoints.read(tmp_path / "checkpoint"))
    train(resumed)
    assert resumed.checkpoint().state["dropout"] == whole.checkpoint().state["dropout"]
    assert without_times(resumed.history) == without_times(whole.history)


def test_a_run_may_go_on_on_another_device(tmp_path):
    checkpoint = train(new_trainer(), 6).checkpoint()
    checkpoint.state["dropout"] = {"gpu": True, "states": [{"seed": 1, "counter": 7}] * 2}
    trainer = new_trainer()
    trainer.resume(checkpoint)
    assert_same(weights_of(trainer.net), checkpoint.part("net"))
    assert train(trainer).epoch == 3


# ---- whole or not there


def test_what_is_written_is_read(tmp_path):
    checkpoints.write(tmp_path / "a", small_checkpoint())
    back = checkpoints.read(tmp_path / "a")
    assert back.state == {"step": 1}
    assert_same(back.part("net"), {"a": np.ones((3, 5), np.float32)})
    assert_same(back.part("velocity"), {"a": np.zeros(4)})


@damages
def test_what_is_not_whole_is_refused(tmp_path, how):
    path = tmp_path / "a"
    checkpoints.write(path, small_checkpoint())
    damage(path, how)
    with pytest.raises(ValueError, match=r"a is not a (whole )?checkpoint"):
        checkpoints.read(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        checkpoints.read(tmp_path / "nowhere")


def test_a_changed_state_is_refused(tmp_path):
    path = tmp_path / "a"
    checkpoints.write(path, small_checkpoint(step=1))
    path.write_bytes(path.read_bytes().replace(rb"\"step\": 1", rb"\"step\": 2"))
    with pytest.raises(ValueError, match="checksum"):
        checkpoints.read(path)


@pytest.mark.parametrize("call", ["safetensors.numpy.save_file", "os.fsync", "os.replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    path = tmp_path / "a"
    checkpoints.write(path, small_checkpoint(step=1))
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(call, fail)
    with pytest.raises(OSError, match=r"checkpoint .*a could not be written .*No space left on device"):
        checkpoints.write(path, small_checkpoint(step=2))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# ---- the ring


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_ring_keeps_the_newest_two_and_nothing_that_a_kill_left(tmp_path):
    folder = tmp_path / "ring"
    for step in (3, 20, 100):
        checkpoints.save_in_ring(folder, step, small_checkpoint(step))
        (folder / "00000101.safetensors.part").mkdir(exist_ok=True)
        (folder / "00000101.safetensors.part" / ".tmpAbC").write_text("half")  # as safetensors leaves it
    assert names(folder) == ["00000020.safetensors", "00000100.safetensors", "00000101.safetensors.part"]
    checkpoints.save_in_ring(folder, 120, small_checkpoint(120))
    assert names(folder) == ["00000100.safetensors", "00000120.safetensors"]
    checkpoint, damaged = checkpoints.newest_whole(folder)
    assert (checkpoint.state, damaged) == ({"step": 120}, [])


def test_where_there_is_no_room_for_a_third_the_oldest_goes_first(tmp_path, monkeypatch):
    for step in (10, 20):
        checkpoints.save_in_ring(tmp_path, step, small_checkpoint(step))
    size = (tmp_path / "00000020.safetensors").stat().st_size
    room, there = [size], []
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=room[0]))

    def fail(path, checkpoint):
        there.append(names(tmp_path))
        raise OSError("disk full")

    monkeypatch.setattr(checkpoints, "write", fail)
    for room[0] in (size, size - 1, 0):
        with pytest.raises(OSError, match="disk full"):
            checkpoints.save_in_ring(tmp_path, 30, small_checkpoint(30))
    both, newest = ["00000010.safetensors", "00000020.safetensors"], ["00000020.safetensors"]
    assert there == [both, newest, newest]


@damages
def test_the_one_before_a_damaged_one_is_taken_and_the_damaged_one_goes(tmp_path, how):
    for step in (10, 20):
        checkpoints.save_in_ring(tmp_path, step, small_checkpoint(step))
    damage(tmp_path / "00000020.safetensors", how)
    checkpoint, [sentence] = checkpoints.newest_whole(tmp_path)
    assert checkpoint.state == {"step": 10}
    assert "00000020.safetensors is not a" in sentence
    checkpoints.remove_after(tmp_path, 10)
    checkpoints.save_in_ring(tmp_path, 15, small_checkpoint(15))
    assert names(tmp_path) == ["00000010.safetensors", "00000015.safetensors"]

    damage(tmp_path / "00000010.safetensors", how)
    damage(tmp_path / "00000015.safetensors", how)
    with pytest.raises(ValueError, match="there is no whole checkpoint in"):
        checkpoints.newest_whole(tmp_path)


def test_files_of_a_user_are_no_checkpoints_and_stay(tmp_path):
    (tmp_path / "mine.safetensors").write_text("mine")
    for step in (10, 20, 30):
        checkpoints.save_in_ring(tmp_path, step, small_checkpoint(step))
    assert names(tmp_path) == ["00000020.safetensors", "00000030.safetensors", "mine.safetensors"]
    assert checkpoints.newest_whole(tmp_path)[1] == []


def test_a_folder_without_checkpoints_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no checkpoint in"):
        checkpoints.newest_whole(tmp_path)


# ---- runs, as a user has them


ARGUMENTS = ["--size", "64", "--epochs", "3", "--batch-size", "5", "--checkpoint-minutes", "0", "--ema", "0.9"]


@pytest.fixture(scope="module")
def whole(colours, tmp_path_factory):
    """The bytes of the weights of a run without a stop."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "alexnet", small_network)
        assert main(["train", "--data", str(colours), "--out", str(folder), *ARGUMENTS]) == 0
    return (folder / runs.WEIGHTS).read_bytes()


@pytest.fixture
def stopped(colours, small_and_elsewhere, monkeypatch):
    """A run that was killed after seven of nine steps, as far as its files can tell."""
    keep = checkpoints.save_in_ring

    def save(folder, step, checkpoint):
        if step == 8:
            raise KeyboardInterrupt
        return keep(folder, step, checkpoint)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_in_ring", save)
        assert main(["train", "--data", str(colours), "--out", "run", *ARGUMENTS]) == 130
    assert names(Path("run/checkpoints")) == ["00000006.safetensors", "00000007.safetensors"]
    return Path("run")


def assert_resumed(whole):
    assert main(["train", "--resume", "run"]) == 0
    assert Path("run/weights.safetensors").read_bytes() == whole
    assert not Path("run/checkpoints").exists()


@pytest.mark.parametrize("how", ["cut", "bit"])
def test_resume_takes_the_one_before_a_damaged_checkpoint(whole, stopped, capsys, how):
    damage(stopped / "checkpoints" / "00000007.safetensors", how)
    capsys.readouterr()
    assert_resumed(whole)
    out = capsys.readouterr().out
    assert "00000007.safetensors is not a" in out
    assert "the one before it is taken" in out
    assert "resumed after 1 epoch and 3 of 3 steps" in out


def test_a_damaged_checkpoint_that_was_skipped_is_removed(stopped, monkeypatch):
    damage(stopped / "checkpoints" / "00000007.safetensors", "cut")

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save_in_ring", stop)
    assert main(["train", "--resume", "run"]) == 130
    assert names(stopped / "checkpoints") == ["00000006.safetensors"]


def test_without_a_whole_checkpoint_there_is_a_sentence_and_nothing_is_lost(stopped, capsys):
    for path in (stopped / "checkpoints").iterdir():
        damage(path, "cut")
    before = names(stopped)
    capsys.readouterr()
    assert main(["train", "--resume", "run"]) == 2
    assert "there is no whole checkpoint in run" in capsys.readouterr().err
    assert names(stopped) == before


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew_and_says_so(whole, stopped, capsys):
    checkpoints.remove_ring(stopped / "checkpoints")
    capsys.readouterr()
    assert_resumed(whole)
    out = capsys.readouterr().out
    assert (
        "run has no checkpoint: its process ended before it wrote the first one. The training begins anew; lost: 2"
        in out
    )
    assert "best-epoch-1.safetensors, best-epoch-2.safetensors: from the training that was lost; kept until" in out


def test_best_weights_of_a_training_that_was_lost_stay_until_that_epoch_is_trained_again(stopped, monkeypatch):
    """Killed without a checkpoint again and again: what is there is never less than before."""
    checkpoints.remove_ring(stopped / "checkpoints")
    lost = runs.best_files(stopped)[2].rename(runs.best_path(stopped, 3))
    before = lost.read_bytes()
    there = []

    def look(trainer, result):
        there.append({epoch: path.read_bytes() == before for epoch, path in runs.best_files(stopped).items()})
        return end_epoch(trainer, result)

    end_epoch = Trainer.end_epoch
    monkeypatch.setattr(Trainer, "end_epoch", look)
    assert main(["train", "--resume", "run", "--checkpoint-minutes", "10"]) == 0
    assert [best[3] for best in there] == [True, True, True]
    assert all(not lost.exists() or lost.read_bytes() != before for lost in runs.best_files(stopped).values())


def test_a_run_that_was_killed_during_its_first_checkpoint_begins_anew(whole, stopped):
    checkpoints.remove_ring(stopped / "checkpoints")
    (stopped / "checkpoints" / "00000001.safetensors.part").mkdir(parents=True)
    assert_resumed(whole)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limits of a process")
def test_a_full_disk_is_told_of_and_the_checkpoint_before_stays(whole, stopped, capsys):
    """Files of more than 8 kB cannot be written: neither checkpoints nor weights."""
    import resource

    capsys.readouterr()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, before[1]))
    try:
        assert main(["train", "--resume", "run"]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    out, err = capsys.readouterr()
    assert "Warning: checkpoint run" in out
    assert "could not be written" in out
    assert "the training goes on" in out
    assert err.count("\n") == 1
    assert "weights" in err
    assert names(stopped / "checkpoints") == ["00000006.safetensors", "00000007.safetensors"]
    assert not list(stopped.rglob("*.part"))
    assert_resumed(whole)


def test_a_folder_that_cannot_be_written_to_is_told_of(whole, stopped, capsys, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr("alexnet_np.files.os.replace", refuse)
        assert main(["train", "--resume", "run"]) == 2
    out, err = capsys.readouterr()
    assert "Permission denied" in out
    assert "Permission denied" in err
    assert_resumed(whole)


# ---- SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.timeout(300)
def test_a_run_that_is_killed_again_and_again_ends_with_the_bits_of_one_that_is_not(small_and_elsewhere, colours):
    """SIGKILL at random points: in steps, in tests, while files are written."""
    argv = ["--data", str(colours), *ARGUMENTS, "--epochs", "60"]
    assert main(["train", "--out", "whole", *argv]) == 0
    rng = random.Random(0)
    process = start("--out", "run", *argv)
    # Before the first step, which loads compiled code first, and then when some have been made.
    for sign in ("SGD", "epoch", "epoch", "epoch", "epoch"):
        assert any(line.startswith(sign) for line in process.stdout), process.communicate()
        time.sleep(rng.uniform(0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL, "the run was over before it could be killed"
        process = start("--resume", "run")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "resumed after" in out
    assert Path("run/weights.safetensors").read_bytes() == Path("whole/weights.safetensors").read_bytes()
    assert not list(Path("run").rglob("*.part"))
    whole, resumed = (
        [line.split(",")[:7] for line in Path(run, runs.HISTORY).read_text().splitlines()] for run in ("whole", "run")
    )
    assert resumed == whole


STATES = {
    "epoch": [-1, 1.5, "1", None, True, 10**30, 2],
    "batch": [-1, 10**6, [], None],
    "schedule": [None, [], {}, {"steps": "3"}, {"steps": -1}, {"steps": None}, {"steps": 1.5}],
    "progress": [None, {}, {"images": "3"}],
    "history": [None, {}, [1], [[]]],
    "dropout": [
        None,
        {},
        {"gpu": 0, "states": []},
        {"gpu": False, "states": [1, 2]},
        {"gpu": False, "states": [{}, {}]},
    ],
    "data": [None, [], {"training pictures": 3}],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in STATES.items() for value in values])
def test_a_state_of_another_type_is_refused_and_changes_nothing(name, value):
    checkpoint = train(new_trainer(), 2).checkpoint()
    other = train(new_trainer(), 1)
    before, state = weights_of(other.net), other.checkpoint().state
    checkpoint.state[name] = value
    with pytest.raises(ValueError, match=r"checkpoint: |state: steps: expected"):
        other.resume(checkpoint)
    assert other.checkpoint().state == state
    assert_same(weights_of(other.net), before)
    del checkpoint.state[name]
    with pytest.raises(ValueError, match=f"checkpoint: expected {name}, found none"):
        other.resume(checkpoint)


@pytest.mark.parametrize("kind", ["velocity", "average"])
def test_a_tensor_of_another_kind_is_refused(kind):
    trainer = train(new_trainer(replace(RECIPE, ema=0.5)), 2)
    checkpoint = trainer.checkpoint()
    name = next(name for name in checkpoint.tensors if name.startswith(kind))
    whole = checkpoint.tensors[name]
    for wrong in (whole[..., None], whole.astype(np.int32), None):
        checkpoint.tensors[name] = wrong
        if wrong is None and kind == "average":
            del checkpoint.tensors[name]
        elif wrong is None:
            del checkpoint.tensors[name]
            checkpoint.tensors["velocity.nowhere"] = whole
        with pytest.raises(ValueError, match=f"checkpoint: .*{kind}"):
            trainer.resume(checkpoint)


def test_settings_that_nest_too_deeply_meet_a_sentence(tmp_path):
    (tmp_path / "run.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"run\.json: cannot be read as JSON \(it is nested too deeply\)"):
        runs.Settings.read(tmp_path)
