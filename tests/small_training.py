"""A training that takes a moment: three colours to tell apart, and the small network."""

from dataclasses import asdict
from functools import cache

import numpy as np
from pictures import COLOURS, colour, small_network

from alexnet_np.data import Arrays, Preparation
from alexnet_np.recipe import Recipe
from alexnet_np.training import Trainer

PREPARATION = Preparation.photographs(64)
RECIPE = Recipe(epochs=3, batch_size=7, lr=0.02, warmup=1, seed=4)  # four steps an epoch


@cache
def pictures(number, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % 3
    names = list(COLOURS)
    return Arrays(np.stack([colour(names[label], rng) for label in labels]), labels, names)


def new_trainer(recipe=RECIPE, **network):
    return Trainer(small_network(seed=recipe.seed, **network), pictures(24), pictures(9, seed=1), PREPARATION, recipe)


def train(trainer, stop_after=None):
    """To the end, or for some steps."""
    steps = 0
    while not trainer.finished:
        for _ in trainer.steps():
            steps += 1
            if steps == stop_after:
                return trainer
        trainer.end_epoch(trainer.evaluate(trainer.test.batches()))
    return trainer


def weights_of(net):
    return {name: array.copy() for name, array in net.state_dict().items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def without_times(history):
    timed = ("images_per_second", "waiting", "seconds")
    return [{name: value for name, value in asdict(row).items() if name not in timed} for row in history]
