"""A training run again, by this project and by PyTorch: do both learn the same?

    alexnet-np train --data photographs --epochs 20
    python -m benchmarks training runs/photographs

Both begin with the same weights and see the same pictures, cropped alike, in the same order, at the same learning
rates, with the same dropout masks: what remains different is how sums are rounded. That is little, but training
makes it grow from step to step. How much of a distance means nothing, the third run says: it is this project's with
other dropout masks, as another seed would give.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from alexnet_np import backend, data, layers, metrics, models, runs, strict_json
from alexnet_np.recipe import Recipe
from alexnet_np.training import Trainer

from . import machine, report

Result = Mapping[str, Any]
OURS, PYTORCH, OTHER_MASKS = "alexnet_np", "PyTorch", "alexnet_np, other masks"
SMOOTHED = 25  # steps, whose mean loss is drawn
RESULT, REPORT, PLOT = "training.json", "report.txt", "losses.png"


@dataclass(frozen=True)
class Run:
    """What is repeated."""

    settings: runs.Settings
    recipe: Recipe
    data: data.Data

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """From the folder of a run. OSError, or ValueError for a run that PyTorch is not taught to repeat here."""
        settings = runs.Settings.read(folder)
        values = tomllib.loads((folder / runs.CONFIG).read_text(encoding="utf-8"))
        names = [field.name for field in fields(Recipe)]
        recipe = Recipe(**{name: values[name] for name in names if name in values})
        for name, value, known in (
            ("model", settings.model, "alexnet"),
            ("weights", values.get("weights"), None),
            ("optimizer", recipe.optimizer, "sgd"),
            ("accumulate", recipe.accumulate, 1),
            ("ema", recipe.ema, 0),
            ("early_stopping", recipe.early_stopping, 0),
            ("freeze", recipe.freeze, None),
        ):
            if value != known:
                raise ValueError(f"{folder}: {name}: expected {known!r}, got {value!r}: PyTorch's side knows no other")
        return cls(settings, recipe, data.load(settings.data))

    def trainer(self) -> Trainer:
        """At the beginning of the run."""
        net = self.settings.build(self.recipe.seed)
        return Trainer(net, self.data.train, self.data.test, self.settings.preparation, self.recipe)


def measure(run: Run, root: Path, say: Callable[[str], None] = print) -> dict[str, Any]:
    """All three runs, one after the other: losses of every step, and the line of every epoch."""
    threads = machine.cores_allowed()
    torch.set_num_threads(threads)
    learners = {}
    for name in (OURS, PYTORCH, OTHER_MASKS):
        trainer = run.trainer()
        net: Any = trainer.net
        if name == PYTORCH:
            net = trainer.step = Torch(trainer)
        elif name == OTHER_MASKS:
            other = np.random.default_rng([run.recipe.seed, 1])
            for dropout in _dropouts(trainer.net):
                dropout.rng = other
        losses: list[float] = []
        while not trainer.finished:
            losses += [progress.step_loss for progress in trainer.steps()]
            line = trainer.end_epoch(metrics.evaluate(net, trainer.test.batches()))
            say(f"{name}: epoch {line.epoch}, train loss {line.train_loss:.3f}, test {line.test_accuracy:.1%}")
        learners[name] = {"losses": losses, "epochs": [asdict(epoch) for epoch in trainer.history]}
    return {
        "date": datetime.now().isoformat(timespec="seconds"),
        "commit": machine.commit(root),
        "machine": machine.describe(threads),
        "versions": runs.versions() | {"torch": torch.__version__},
        "data": {"name": run.data.name, "train": len(run.data.train), "test": len(run.data.test)},
        "size": run.settings.preparation.size,
        "recipe": asdict(run.recipe),
        "learners": learners,
    }


# ---- PyTorch's side


class Torch:
    """PyTorch in the place of a trainer's step, and of the network that is tested after an epoch."""

    def __init__(self, trainer: Trainer) -> None:
        net, recipe = trainer.net, trainer.recipe
        self.rates = trainer.sgd  # whose learning rate the trainer's schedule moves
        self.module = alexnet(net)
        self.module.load_state_dict({name: torch.from_numpy(w.copy()) for name, w in net.torch_state_dict().items()})
        self.loss = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
        groups = [
            {"params": [p for p in self.module.parameters() if (p.ndim == 1) == biases], "weight_decay": decay}
            for biases, decay in ((False, recipe.weight_decay), (True, recipe.weight_decay * recipe.bias_decay))
        ]
        self.sgd = torch.optim.SGD(groups, recipe.lr, recipe.momentum)
        self.num_classes, self.dtype, self.device, self.backend = net.num_classes, net.dtype, "cpu", backend.get("cpu")

    def __call__(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, int]:
        """A training step: the loss, and how many were right."""
        for group in self.sgd.param_groups:
            group["lr"] = self.rates.lr
        self.module.train()
        self.sgd.zero_grad()
        logits = self.module(_channels_first(images))
        loss = self.loss(logits, torch.from_numpy(labels))
        loss.backward()
        self.sgd.step()
        return loss.item(), int((logits.argmax(1).numpy() == labels).sum())

    def raise_if_skipped(self, loss: float, images: np.ndarray, labels: np.ndarray) -> None:
        """Nothing is skipped here."""

    def logits(self, images: np.ndarray, keep: bool = False) -> np.ndarray:
        self.module.eval()
        with torch.inference_mode():
            return self.module(_channels_first(images)).numpy()


def alexnet(net: models.Network) -> nn.Module:
    """torchvision's AlexNet for as many classes, whose dropout draws the masks of ``net``."""
    first, second = (SameMasks(dropout) for dropout in _dropouts(net))
    module = nn.Sequential()
    module.features = nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2),
    )
    module.avgpool = nn.AdaptiveAvgPool2d((6, 6))
    module.dropout = first  # on images, before they are flattened: see SameMasks
    module.flatten = nn.Flatten()
    module.classifier = nn.Sequential(
        nn.Identity(),
        nn.Linear(256 * 6 * 6, 4096),
        nn.ReLU(inplace=True),
        second,
        nn.Linear(4096, 4096),
        nn.ReLU(inplace=True),
        nn.Linear(4096, net.num_classes),
    )
    return module


class SameMasks(nn.Module):
    """Dropout by the masks that a layer of this project draws: what that makes of ones.

    Elements are counted as (N, H, W, C) here and as (N, C, H, W) there.
    """

    def __init__(self, dropout: layers.Dropout) -> None:
        super().__init__()
        self.dropout = dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        channels_last = x.movedim(1, -1)
        mask = self.dropout.forward(np.ones((len(x), channels_last[0].numel()), np.float32), training=True)
        return x * torch.from_numpy(mask).reshape(channels_last.shape).movedim(-1, 1)


def _dropouts(net: models.Network) -> list[layers.Dropout]:
    return [layer for _, layer in net.walk() if isinstance(layer, layers.Dropout)]


def _channels_first(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


# ---- what came of it


def write(result: Result, folder: Path) -> str:
    """The result, its report and the plot, into a folder; the report."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULT).write_text(strict_json.dumps(result) + "\n", encoding="utf-8")
    words = text(result)
    (folder / REPORT).write_text(words, encoding="utf-8")
    draw(result, folder / PLOT)
    return words


def text(result: Result) -> str:
    """Setting, results and distances."""
    there, recipe, epochs = result["data"], result["recipe"], result["recipe"]["epochs"]
    rows = []
    for name, learner in result["learners"].items():
        last = learner["epochs"][-1]
        rows.append(
            [
                name,
                f"{last['train_loss']:.4f}",
                f"{last['test_loss']:.4f}",
                f"{last['test_accuracy']:.2%}",
                *(f"{distance:.1e}" for distance in _distances(result, name)),
            ]
        )
    header = ["", "train loss", "test loss", "test accuracy", "first epoch", "all epochs"]
    lines = [
        f"{there['name']}, {there['train']:,} pictures of {result['size']}x{result['size']} pixels: {epochs} epochs, "
        f"batches of {recipe['batch_size']}",
        f"SGD: learning rate {recipe['lr']:g} ({recipe['schedule']}), momentum {recipe['momentum']:g}, weight decay "
        f"{recipe['weight_decay']:g}, seed {recipe['seed']}",
        machine_line(result),
        "",
        report.table(header, rows),
        "",
        f"First epoch, all epochs: the median distance of a step's loss from {OURS}'s.",
    ]
    return "\n".join(lines) + "\n"


def machine_line(result: Result) -> str:
    versions = result["versions"]
    return (
        f"{report.machine_line(result)}; alexnet_np {versions['alexnet-np']}, torch {versions['torch']}; "
        f"{report.revision(result)}"
    )


def _distances(result: Result, name: str) -> tuple[float, float]:
    distance = _distance(result, name)
    return float(np.median(distance[: len(distance) // result["recipe"]["epochs"]])), float(np.median(distance))


def _distance(result: Result, name: str) -> np.ndarray:
    """Of every step's loss from this project's."""
    mine, theirs = (np.array(result["learners"][each]["losses"]) for each in (OURS, name))
    return np.abs(mine - theirs)


def draw(result: Result, path: Path) -> None:
    """Losses, the distances between them, and the test's accuracies, as PNG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from .plots import STYLE

    looks: dict[str, dict[str, Any]] = {
        OTHER_MASKS: {"color": "#b9b9b9", "linewidth": 1.6},
        OURS: {"color": "#d62839", "linewidth": 3.2, "alpha": 0.75},
        PYTORCH: {"color": "#14506e", "linewidth": 1.2, "linestyle": (0, (4, 2))},
    }
    learners, there = result["learners"], result["data"]
    per_epoch = len(learners[OURS]["losses"]) / result["recipe"]["epochs"]
    with rc_context(STYLE):
        figure = Figure(figsize=(11, 6.4), layout="constrained")
        figure.suptitle(
            f"{there['name']}, {there['train']:,} pictures: the same training by alexnet_np and by PyTorch",
            fontsize=12,
            x=0.01,
            ha="left",
        )
        axes = figure.subplot_mosaic([["loss", "accuracy"], ["distance", "accuracy"]], width_ratios=(2, 1))
        for name, look in looks.items():
            losses = np.array(learners[name]["losses"])
            x, mean = _smoothed(losses)
            axes["loss"].plot(x / per_epoch, mean, label=name, **look)
            epochs = [line["epoch"] for line in learners[name]["epochs"]]
            accuracies = [100 * line["test_accuracy"] for line in learners[name]["epochs"]]
            axes["accuracy"].plot(epochs, accuracies, label=name, **look)
            if name != OURS:
                x = np.arange(1, len(losses) + 1)
                distance = np.maximum(_distance(result, name), 1e-9)  # equal numbers have no logarithm
                axes["distance"].semilogy(x / per_epoch, distance, ".", markersize=2.5, color=look["color"])
        axes["loss"].set_title(f"Training loss (mean of {SMOOTHED} steps)")
        axes["loss"].set_ylim(bottom=0)
        axes["loss"].legend(frameon=False)
        axes["distance"].set_title(f"Distance of a step's loss from {OURS}'s")
        axes["distance"].set_xlabel("epoch")
        axes["accuracy"].set_title("Test accuracy, %")
        axes["accuracy"].set_xlabel("epoch")
        for part in axes.values():
            part.grid(axis="y", color="#e8e8e8")
            part.set_axisbelow(True)
        figure.supxlabel(machine_line(result), fontsize=7, x=0.01, ha="left", color="#555555")
        figure.savefig(path, dpi=130)


def _smoothed(losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and the mean of the losses around them."""
    width = min(SMOOTHED, len(losses))
    mean = np.convolve(losses, np.full(width, 1 / width), "valid")
    return np.arange(len(mean)) + (width + 1) / 2, mean
