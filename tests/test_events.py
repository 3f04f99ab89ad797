"""TensorBoard's event files, read back."""

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from small_training import RECIPE, new_trainer, train
from tensorboardX.proto.event_pb2 import Event, SessionLog

from alexnet_np.cli import main
from alexnet_np.cli.stop import Stopped, StopRequest
from alexnet_np.events import Events


def events_in(folder):
    """What the records of all files hold; a record is length, checksum, event, checksum."""
    for path in sorted(folder.iterdir()):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            yield Event.FromString(content[at + 12 : at + 12 + length])
            at += 12 + length + 4


def scalars(folder):
    """(tag, step) -> value"""
    return {(value.tag, event.step): value.simple_value for event in events_in(folder) for value in event.summary.value}


def test_steps_and_epochs_are_there(tmp_path):
    trainer, events, losses, rates = new_trainer(), Events(tmp_path, 0), [], []
    while not trainer.finished:
        for progress in trainer.steps():
            events.step(trainer.steps_done, progress)
            losses.append(progress.step_loss)
            rates.append(progress.lr)
        events.epoch(trainer.steps_done, trainer.end_epoch(trainer.evaluate(trainer.test.batches())))
    events.close()

    found = scalars(tmp_path)
    assert [found["step/loss", step] for step in range(1, 13)] == pytest.approx(losses)
    assert [found["step/learning_rate", step] for step in range(1, 13)] == pytest.approx(rates)
    for row in trainer.history:
        step = 4 * row.epoch
        assert found["loss/train", step] == pytest.approx(row.train_loss)
        assert found["loss/test", step] == pytest.approx(row.test_loss)
        assert found["accuracy/train", step] == pytest.approx(row.train_accuracy)
        assert found["accuracy/test", step] == pytest.approx(row.test_accuracy)
        assert found["accuracy/test_top5", step] == 1.0


def test_the_loss_of_a_step_is_that_of_its_batch_alone():
    trainer = new_trainer(replace(RECIPE, epochs=2, warmup=1))
    losses, sizes = zip(*((p.step_loss, p.images) for p in trainer.steps()), strict=True)
    batch_sizes = [after - before for before, after in zip((0, *sizes), sizes, strict=False)]
    assert trainer.progress.loss == pytest.approx(sum(map(float.__mul__, losses, map(float, batch_sizes))) / 24)


def test_a_resumed_run_tells_tensorboard_which_events_are_void(tmp_path):
    trainer = train(new_trainer(), 6)
    Events(tmp_path, trainer.steps_done).close()
    starts = [event.step for event in events_in(tmp_path) if event.session_log.status == SessionLog.START]
    assert starts == [7]


def test_a_step_after_which_a_run_stops_is_there_too(colours, small_and_elsewhere, monkeypatch):
    def stop(*_):
        raise Stopped

    options = ["--data", str(colours), "--size", "64", "--epochs", "1", "--batch-size", "5", "--tensorboard"]
    with monkeypatch.context() as patch:
        patch.setattr(StopRequest, "grant", stop)
        assert main(["train", *options, "--out", "run"]) == 130
    assert main(["train", "--resume", "run"]) == 0
    assert [step for tag, step in scalars(Path("run/events")) if tag == "step/loss"] == [1, 2, 3]
