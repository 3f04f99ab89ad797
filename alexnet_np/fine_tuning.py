"""The first weights of a run that fine-tunes: which of them are taken over."""

import os
from collections.abc import Sequence
from pathlib import Path

from . import runs, weights
from .layers import Container


def begin_with(net: Container, path: str | os.PathLike[str], classes: Sequence[str]) -> str:
    """Load the weights of a run or a file into a network for ``classes``; returns what became of the last layer.

    Where the weights name their classes, names decide: the last layer is taken over for the same classes, in the order
    of the new ones, and begins anew for others, however many they are. Of weights without names it is taken over where
    the number of classes is the same. Errors: see weights.load.
    """
    path = Path(path)
    description = runs.description_of(path)
    theirs = None if description is None else list(description.classes)
    parameters = dict(net.named_parameters())
    last, _, _ = list(parameters)[-1].rpartition(".")
    fresh = {name: p.data.copy() for name, p in parameters.items() if name.rpartition(".")[0] == last}
    new = weights.load(net, path / runs.WEIGHTS if path.is_dir() else path, strict=False)
    if new:
        return f"new are {', '.join(new)}"
    ours = list(classes)
    if theirs == ours:
        return "the last layer too, for it knows the same classes"
    if theirs is None:
        return "the last layer too, by position, for the file does not name its classes"
    if sorted(theirs) == sorted(ours) and len(set(ours)) == len(ours):
        order = [theirs.index(name) for name in ours]
        for name in fresh:
            parameters[name].data[...] = parameters[name].data[..., order]
        return "the last layer too, its classes in the order of the data"
    for name, values in fresh.items():
        parameters[name].data[...] = values
    return f"new are {', '.join(fresh)}, for its classes are others"
