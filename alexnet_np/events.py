"""TensorBoard's event files: tensorboard --logdir runs"""

from pathlib import Path

from .training import Epoch, Progress


class Events:
    """Scalars of a run by the number of steps. Of a run that is resumed, later ones are dropped by TensorBoard."""

    def __init__(self, folder: Path, steps_done: int) -> None:
        from tensorboardX import SummaryWriter

        self.writer = SummaryWriter(str(folder), purge_step=steps_done + 1)

    def step(self, steps_done: int, progress: Progress) -> None:
        self.writer.add_scalar("step/loss", progress.step_loss, steps_done)
        self.writer.add_scalar("step/learning_rate", progress.lr, steps_done)

    def epoch(self, steps_done: int, line: Epoch) -> None:
        for part in ("train", "test"):
            for name in ("loss", "accuracy"):
                self.writer.add_scalar(f"{name}/{part}", getattr(line, f"{part}_{name}"), steps_done)
        self.writer.add_scalar("accuracy/test_top5", line.test_top5, steps_done)
        self.writer.add_scalar("speed/images_per_second", line.images_per_second, steps_done)
        self.writer.add_scalar("speed/waiting", line.waiting, steps_done)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()
