"""The first weights of a run that fine-tunes: which of them are taken over."""

import os
from collections.abc import Sequence
from pathlib import Path

from . import runs, weights
from .data import Preparation, are_numbers
from .layers import Container


def begin_with(
    net: Container,
    path: str | os.PathLike[str],
    classes: Sequence[str],
    preparation: Preparation | None = None,
) -> str:
    """Load the weights of a run or a file into a network for ``classes``; returns what became of the last layer.

    Where the weights name their classes, names decide: the last layer is taken over for the same classes, in the order
    of the new ones, and starts fresh for others, however many they are. Of weights without names it is taken over where
    the number of classes is the same. Where the weights took images in another way than ``preparation``, what is
    returned says so, too. Errors: see weights.load; of a run that was stopped, see runs.open_trained.
    """
    path = Path(path)
    description = runs.description_of(path)
    became = _last_layer(net, path, None if description is None else list(description.classes), list(classes))
    if description is None or preparation is None or description.preparation.in_words() == preparation.in_words():
        return became
    return f"{became}; its images were prepared in another way: {description.preparation.in_words()}"


def _last_layer(net: Container, path: Path, theirs: list[str] | None, ours: list[str]) -> str:
    parameters = dict(net.named_parameters())
    last, _, _ = list(parameters)[-1].rpartition(".")
    fresh = {name: p.data.copy() for name, p in parameters.items() if name.rpartition(".")[0] == last}
    if path.is_dir() and not (path / runs.WEIGHTS).exists():  # stopped
        new = weights.load_arrays(net, weights.to_torch(runs.open_trained(path).net), strict=False)
    else:
        new = weights.load(net, path / runs.WEIGHTS if path.is_dir() else path, strict=False)
    if new:
        return "the last layer starts fresh: the number of classes differs"
    if theirs is None:
        return "the last layer too, by position, for the file does not name its classes"
    if theirs == ours:
        if are_numbers(ours):
            return "the last layer too, by position: both have numbers only"
        return "the last layer too, for it knows the same classes"
    if sorted(theirs) == sorted(ours) and len(set(ours)) == len(ours):
        position = {name: number for number, name in enumerate(theirs)}
        order = [position[name] for name in ours]
        for name in fresh:
            parameters[name].data[...] = parameters[name].data[..., order]
        return "the last layer too, its classes in the order of the data"
    for name, values in fresh.items():
        parameters[name].data[...] = values
    return "the last layer starts fresh: the classes differ"
