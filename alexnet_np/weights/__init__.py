"""Weights on disk and between frameworks: the border where layouts are converted.

    weights.load(net, path)         safetensors, torch's .pth, Keras's .weights.h5, .keras and .h5, told by content
    weights.save(net, path)         .safetensors, .weights.h5 or .keras, by the name's end
    weights.read_description(path)  what a file of weights says of its network, classes and preparation
    weights.export_onnx(net, path)  the network itself, for ONNX Runtime and others

docs/weights.md says what loads where, and what a network expects of its images.
"""

from ..layers.state import load_state
from .description import Description
from .files import SAFETENSORS, Arrays, File, load, read, read_description, save
from .layouts import load_arrays, load_keras, load_torch, num_classes, to_keras, to_torch, torch_name
from .onnx_graph import export_onnx

__all__ = [
    "SAFETENSORS",
    "Arrays",
    "Description",
    "File",
    "export_onnx",
    "load",
    "load_arrays",
    "load_keras",
    "load_state",
    "load_torch",
    "num_classes",
    "read",
    "read_description",
    "save",
    "to_keras",
    "to_torch",
    "torch_name",
]
