"""TensorBoard's event files: tensorboard --logdir runs"""

import socket
import time
from pathlib import Path
from typing import Any

from .training import Epoch, Progress


class Events:
    """Scalars of a run by the number of steps. Of a run that is resumed, later ones are dropped by TensorBoard.

    All methods raise OSError where the file cannot be written. They write the records themselves: tensorboardX's
    SummaryWriter leaves that to a thread, which ends at the first error, and then waits for it for ever.
    """

    def __init__(self, folder: Path, steps_done: int) -> None:
        from tensorboardX.proto.event_pb2 import SessionLog
        from tensorboardX.record_writer import RecordWriter

        folder.mkdir(exist_ok=True)
        self.path = folder / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}"  # as TensorBoard knows it
        self.records = RecordWriter(str(self.path))
        self._write(0, file_version="brain.Event:2")
        self._write(steps_done + 1, session_log=SessionLog(status=SessionLog.START))

    def step(self, steps_done: int, progress: Progress) -> None:
        """Of the last step; on "gpu" the loss may be that of the step before: see ``Trainer.steps``."""
        self._scalars(steps_done, {"step/loss": progress.step_loss, "step/learning_rate": progress.lr})

    def epoch(self, steps_done: int, line: Epoch) -> None:
        self._scalars(
            steps_done,
            {
                "loss/train": line.train_loss,
                "loss/test": line.test_loss,
                "accuracy/train": line.train_accuracy,
                "accuracy/test": line.test_accuracy,
                "accuracy/test_top5": line.test_top5,
                "speed/images_per_second": line.images_per_second,
                "speed/waiting": line.waiting,
            },
        )
        self.records.flush()

    def close(self) -> None:
        """Also closed where this raises."""
        self.records.close()

    def _scalars(self, steps_done: int, values: dict[str, float]) -> None:
        from tensorboardX.proto.summary_pb2 import Summary

        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._write(steps_done, summary=Summary(value=scalars))

    def _write(self, step: int, **what: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self.records.write(Event(wall_time=time.time(), step=step, **what).SerializeToString())
