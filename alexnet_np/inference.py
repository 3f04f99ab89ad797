"""A network's answers, nothing kept for backward.

    answer = Inference(net)
    for images, labels in batches:
        logits = answer(images)

On a GPU forward is recorded for each batch size and then replayed: recording.py.
"""

from typing import Any

from . import recording
from .layers import Container


class Inference:
    """Calls of it are the logits of ``net``, any container: images (N, H, W, 3) -> (N, num_classes), on its device.

    ``graph=False`` never records. Other devices than "gpu" never do.
    """

    def __init__(self, net: Container, graph: bool = True) -> None:
        self.net = net
        self.graph = graph
        self._recorder = recording.Recorder()

    def __call__(self, images: Any) -> Any:
        net = self.net
        images = net.backend.asarray(images, net.dtype)
        if net.device != "gpu" or not self.graph:
            return net.logits(images, keep=False)
        [logits] = self._recorder.run(self._logits, self._fixed, images)
        return logits.copy()  # the next replay writes over its own

    def _logits(self, images: Any) -> tuple[Any]:
        return (self.net.logits(images, keep=False),)

    def _fixed(self) -> recording.Fixed:
        return recording.fixed(self.net)
