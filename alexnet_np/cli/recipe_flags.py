"""A flag for each field of a Recipe."""

import argparse
from dataclasses import fields
from typing import Any

from ..recipe import FREEZABLE, OPTIMIZERS, SCHEDULES, Recipe
from .common import amount, count, flag, natural, share

FLAGS: dict[str, tuple[dict[str, Any], str]] = {
    "epochs": ({"type": count, "metavar": "N"}, "passes over the training pictures"),
    "batch_size": ({"type": count, "metavar": "N"}, "pictures in a step"),
    "accumulate": (
        {"type": count, "metavar": "PARTS"},
        "in which a step's pictures go through the network, one after another: less memory, the same step",
    ),
    "optimizer": ({"choices": OPTIMIZERS}, "2012: biases at twice the rate, without decay; rule of the 2012 code"),
    "lr": ({"type": amount, "metavar": "RATE"}, "highest learning rate"),
    "momentum": ({"type": amount, "metavar": "M"}, "of SGD"),
    "weight_decay": ({"type": amount, "metavar": "D"}, "of SGD"),
    "bias_decay": ({"action": argparse.BooleanOptionalAction}, "whether biases decay, too"),
    "schedule": (
        {"choices": SCHEDULES},
        "of the learning rate: cosine, to 0; step, times gamma every --step-epochs; plateau, times gamma when the test "
        "error does not fall, as by hand in 2012; constant; 2012, times gamma at the epochs of the 2012 code",
    ),
    "warmup": ({"type": natural, "metavar": "EPOCHS"}, "in which the learning rate rises"),
    "step_epochs": ({"type": count, "metavar": "N"}, "of schedule step"),
    "gamma": ({"type": share, "metavar": "FACTOR"}, "of schedules step, plateau and 2012"),
    "patience": ({"type": natural, "metavar": "EPOCHS"}, "of schedule plateau, without a smaller test error"),
    "label_smoothing": ({"type": share, "metavar": "E"}, "share of the wanted answer that is spread over all classes"),
    "ema": (
        {"type": share, "metavar": "DECAY"},
        "of an average of the weights, such as 0.999, tested and saved for them",
    ),
    "early_stopping": ({"type": natural, "metavar": "EPOCHS"}, "without a better test ends the run; 0: never"),
    "freeze": ({"choices": FREEZABLE}, "layers that do not learn: the convolutions, in fine-tuning"),
    "seed": ({"type": natural, "metavar": "N"}, "of weights, order, crops and dropout"),
}


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """The flags, with the recipe's own defaults."""
    group = parser.add_argument_group("recipe")
    for field in fields(Recipe):
        options, text = FLAGS[field.name]
        group.add_argument(flag(field.name), **options, default=field.default, help=f"{text} (default: %(default)s)")


# Settings that only some choices of another setting look at.
ONLY_WITH = {
    "step_epochs": ("schedule", ("step",)),
    "gamma": ("schedule", ("step", "plateau", "2012")),
    "patience": ("schedule", ("plateau",)),
    "bias_decay": ("optimizer", ("sgd",)),
}


def chosen_recipe(args: argparse.Namespace) -> Recipe:
    """The recipe that the flags ask for. ValueError where it makes no sense, or a setting would be ignored."""
    recipe = Recipe(**{name: getattr(args, name) for name in FLAGS})
    for name, (other, values) in ONLY_WITH.items():
        if getattr(recipe, name) != getattr(Recipe, name) and getattr(recipe, other) not in values:
            needed, got = " or ".join(values), getattr(recipe, other)
            raise ValueError(f"{flag(name)}: expected {flag(other)} {needed} with it, got {got}")
    return recipe
