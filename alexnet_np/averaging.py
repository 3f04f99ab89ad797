"""A running average of the weights, which often does better than the weights at any one step."""

from collections.abc import Iterator
from contextlib import contextmanager

from .models import Network


class WeightAverage:
    """e <- d e + (1 - d) w after every step t = 1, 2, ..., with d = min(decay, (1 + t) / (10 + t)).

    The second term lets the first steps' weights, which know nothing, be forgotten soon. ``arrays`` holds e
    by the name of the parameter; of one that is frozen it is w, to the bit.
    (Polyak & Juditsky 1992; Szegedy et al. 2016, section 8.)
    """

    def __init__(self, net: Network, decay: float) -> None:
        self.net = net
        self.decay = decay
        self.steps = 0
        self.arrays = {name: array.copy() for name, array in net.state_dict().items()}

    def update(self) -> None:
        """Take in the weights as they are now."""
        self.steps += 1
        d = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for p in self.net.parameters():
            if p.requires_grad:
                self.arrays[p.name] *= d
                self.arrays[p.name] += (1 - d) * p.data
            else:  # a copy: when it learns again, the lines above write to it
                self.arrays[p.name][...] = p.data

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it the network has the averages for its weights."""
        parameters = self.net.parameters()
        weights = [parameter.data for parameter in parameters]
        try:
            for parameter in parameters:
                parameter.data = self.arrays[parameter.name]
            yield
        finally:
            for parameter, data in zip(parameters, weights, strict=True):
                parameter.data = data
