"""A running average of the weights, which often does better than the weights at any one step."""

from collections.abc import Iterator
from contextlib import contextmanager

from .layers import Container
from .layers.parameter import Parameter


class WeightAverage:
    """e <- d e + (1 - d) w after every step t = 1, 2, ..., with d = min(decay, (1 + t) / (10 + t)).

    The second term lets the first steps' weights, which know nothing, be forgotten soon. ``arrays`` holds e
    by the name of the parameter; of one that is frozen it is w, to the bit.
    (Polyak & Juditsky 1992; Szegedy et al. 2016, section 8.)
    """

    def __init__(self, net: Container, decay: float) -> None:
        self.net = net
        self.decay = decay
        self.steps = 0
        self.arrays = {name: array.copy() for name, array in net.state_dict().items()}

    def update(self) -> None:
        """Take in the weights as they are now. ValueError, and nothing changed, where the network has other ones."""
        parameters = self._parameters()
        self.steps += 1
        d = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, p in parameters.items():
            if p.requires_grad:
                self.arrays[name] *= d
                self.arrays[name] += (1 - d) * p.data
            else:  # a copy: when it learns again, the lines above write to it
                self.arrays[name][...] = p.data

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within it the network has the averages for its weights."""
        parameters = self._parameters()
        weights = {name: parameter.data for name, parameter in parameters.items()}
        try:
            for name, parameter in parameters.items():
                parameter.data = self.arrays[name]
            yield
        finally:
            for name, parameter in parameters.items():  # which may have moved to another device or dtype
                parameter.data = parameter.backend.asarray(weights[name], parameter.data.dtype)

    def _parameters(self) -> dict[str, Parameter]:
        """The network's, by name, with averages of their kind: a network that has moved takes its averages along."""
        parameters = dict(self.net.named_parameters())
        averaged = {name: tuple(array.shape) for name, array in self.arrays.items()}
        if averaged != {name: tuple(p.data.shape) for name, p in parameters.items()}:
            others = sorted(
                name
                for name in averaged.keys() | parameters.keys()
                if name not in parameters or averaged.get(name) != tuple(parameters[name].data.shape)
            )
            raise ValueError(
                f"WeightAverage: net: expected the parameters that it began with, got others for {', '.join(others)}: "
                "make a new WeightAverage after layers are replaced"
            )
        for name, p in parameters.items():
            self.arrays[name] = p.backend.asarray(self.arrays[name], p.data.dtype)
        return parameters
