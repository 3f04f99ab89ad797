"""Who takes part: one framework a file, each with a class ``Contender``.

    Contender(weights, **options)              holds the network; turns the weights into its own layout
    load(x, y)                                 takes a batch over, in its own layout; not timed
    infer() -> logits                          in inference mode
    step() -> loss                             one training step, finished when it returns
    gradients() -> loss, name -> gradient      in training mode, weights as they are
    weights() -> name -> array                 as they are now
    set_dropout(p)                             0 for the comparison with the expected results

and perhaps

    LayerTask(layer, data, **options)          one layer alone: forward(), backward(), results()
    set_threads(threads)                       the framework's own way to say it, before anything else
    rest()                                     gives back what memory of a GPU nobody uses

On a GPU, which computes while Python goes on, infer and step only begin, and what they return stays there. Then a
contender and a LayerTask also have

    finish()                                   waits until all that was begun is done
    logits() -> logits                         what infer computed, in main memory

Arrays that are handed out otherwise are in main memory, and all are in problem.py's layout. A contender without
``step`` only infers. A module is imported in its worker process only: a framework that is not installed costs nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any


@dataclass(frozen=True)
class Entry:
    """A row of the tables."""

    name: str  # on the command line
    label: str  # in tables and plots
    module: str  # contenders/<module>.py, named after the package that it imports
    options: Mapping[str, Any] = field(default_factory=dict)  # for its Contender
    needs: tuple[str, ...] = ()  # further packages
    layers: bool = False  # takes part with single layers
    quick: bool = True  # takes part in --quick
    slow: bool = False  # on a GPU: compiles for minutes, and takes part only where it is asked for
    cache: str = ""  # the variable that names the folder of its compiled code

    @property
    def precision(self) -> str:
        """How products are rounded: "float32", "tf32" or "bfloat16". Ratios are to peers of the same."""
        return self.options.get("precision", "float32")

    @property
    def ours(self) -> bool:
        """Whether this is the project itself, and not a peer."""
        return self.module == "alexnet_np"

    @property
    def missing(self) -> list[str]:
        """What is not installed."""
        return [name for name in (self.module, *self.needs) if find_spec(name) is None]


IM2COL = {"device": "cpu", "algorithm": "im2col"}
ENTRIES = (
    Entry("cpu", "alexnet-np", "alexnet_np", {"device": "cpu"}, layers=True, cache="NUMBA_CACHE_DIR"),
    Entry("im2col", "alexnet-np im2col", "alexnet_np", IM2COL, layers=True),
    Entry("reference", "alexnet-np reference", "alexnet_np", {"device": "reference"}),
    Entry("tensorflow", "TensorFlow", "tensorflow", layers=True),
    Entry("pytorch", "PyTorch", "torch", layers=True),
    Entry("channels-last", "PyTorch channels_last", "torch", {"layout": "channels_last"}, layers=True),
    Entry("compile", "PyTorch compile", "torch", {"compiled": "default"}, quick=False, cache="TORCHINDUCTOR_CACHE_DIR"),
    Entry("jax", "JAX", "jax", layers=True),
    Entry("onnxruntime", "ONNX Runtime", "onnxruntime", needs=("onnx",)),
    Entry("numpy", "NumPy, plainly", "numpy"),
)
# What the others have to agree with: the project's reference book, in double precision.
DEFINITION = Entry("definition", "float64", "alexnet_np", {"device": "reference", "dtype": "float64"})
BY_NAME = {entry.name: entry for entry in ENTRIES}
