"""Import torchvision beside any torch.

torchvision's Python part registers shape rules for two detection operators that its compiled part
declares. Where that part does not load (built for another torch, a CPU build beside a CUDA build),
``import torchvision`` fails for want of operators that AlexNet never calls. There, and only there, they
are declared here, without an implementation.
"""

import sys
from types import ModuleType
from warnings import catch_warnings, filterwarnings

import torch

OPERATORS = ("nms", "qnms")

_libraries = []  # a Library takes its declarations with it when it is collected


def import_torchvision() -> ModuleType:
    """The torchvision package, with torchvision.models."""
    with catch_warnings():
        # The reader of image files is compiled too, and not used here.
        filterwarnings("ignore", "Failed to load image Python extension", UserWarning)
        try:
            import torchvision.models
        except RuntimeError as error:
            if "operator torchvision::" not in str(error):
                raise
            _declare_operators()
            for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
                del sys.modules[name]  # half imported
            import torchvision.models
    return torchvision


def _declare_operators() -> None:
    library = torch.library.Library("torchvision", "DEF")
    for operator in OPERATORS:
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _libraries.append(library)
