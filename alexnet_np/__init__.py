"""AlexNet in array code, forward and backward by hand: on NumPy with a fast CPU engine, and on CuPy.

In short:

    from alexnet_np import models, losses, optim
    net = models.alexnet(num_classes=10)
    logits = net.forward(images, training=True)          # images (N, H, W, 3), float32
    loss, dlogits = losses.softmax_cross_entropy(logits, labels)
    net.backward(dlogits)
    optim.SGD(net.parameters(), lr=0.01, momentum=0.9).step()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import layers as layers, losses as losses, models as models, optim as optim, weights as weights

__version__ = "0.1.0"


__all__ = ["layers", "losses", "models", "optim", "weights"]


def __getattr__(name: str) -> Any:
    """The modules above are imported when they are asked for: the command line starts at once, and hears Ctrl-C."""
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
