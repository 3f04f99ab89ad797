"""Tables of a network: torchsummary's, Keras's, and one of its costs. Nothing is run, no array is made.

    print(summary.torchsummary(models.alexnet(), (3, 227, 227)))
    print(summary.keras(models.alexnet_keras()))
    print(summary.costs(models.alexnet(), (128, 224, 224, 3)))      # shapes, parameters, multiply-adds, memory
    print(summary.algorithms(net, shape))                           # how each convolution is computed
    [dataclasses.asdict(row) for row in summary.rows(net, shape)]   # the same for a program

Sources: the formats are torchsummary 1.5.1's, tf.keras's up to 2.6 and Keras 3's, character for character.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from textwrap import wrap
from typing import Any

from .layers import Container, Conv2d, Flatten, Linear, ReLU, Softmax
from .layers.arguments import integer
from .layers.base import Layer, Shape
from .layers.classes import describes_forward

MIB = 2**20

# What Keras calls the layers that have another name there.
KERAS_NAMES = {
    "AdaptiveAvgPool2d": "AdaptiveAveragePooling2D",
    "Conv2d": "Conv2D",
    "Linear": "Dense",
    "MaxPool2d": "MaxPooling2D",
}


@dataclass(frozen=True)
class Row:
    """What one layer makes, and what that costs.

    ``macs`` are the multiply-adds of a forward (biases, comparisons and norms not counted: Layer.macs), None where a
    layer with a forward of its own does not say; of a container with a forward of its own those of its children.
    ``activation_bytes`` is the memory of the output in the network's dtype, 0 for a view of the input.
    """

    name: str
    layer: str
    output_shape: Shape
    parameters: int
    macs: int | None
    activation_bytes: int


def rows(net: Layer, shape: Sequence[int]) -> list[Row]:
    """A row for every step of forward (Layer.steps), for inputs of ``shape``: (N, H, W, C) or (N, features).

    A layer with a forward of its own is one row, with the parameters of the layers inside it.

    Raises TypeError where ``net`` is no layer, ValueError where the shape does not fit it.
    """
    listed = []
    for name, layer, taken in _walk(net, _sizes("summary", "shape", shape, "(N, H, W, C)")):
        made = layer.output_shape(taken)
        memory = 0 if type(layer) is Flatten else prod(made) * _itemsize(net)
        listed.append(Row(name, type(layer).__name__, made, _count(layer), _macs(layer, taken), memory))
    return listed


def costs(net: Layer, shape: Sequence[int]) -> str:
    """The table of ``rows``, with totals; the last lines say what memory the whole takes.

    It is that of one layer after another: an engine that computes a layer together with its ReLU needs less.
    """
    header = ("layer", "kind", "output shape", "parameters", "multiply-adds", "activations, MiB")
    listed = rows(net, shape)
    cells = [
        (
            row.name,
            row.layer,
            str(row.output_shape),
            f"{row.parameters:,}",
            "?" if row.macs is None else f"{row.macs:,}",
            _mib(row.activation_bytes),
        )
        for row in listed
    ]
    activations = sum(row.activation_bytes for row in listed)
    parameters = sum(row.parameters for row in listed)
    macs = f"{sum(row.macs or 0 for row in listed):,}" + (" + ?" if any(row.macs is None for row in listed) else "")
    total = ("total", "", "", f"{parameters:,}", macs, _mib(activations))

    widths = [max(map(len, column)) for column in zip(header, *cells, total, strict=True)]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))

    def line(row: tuple[str, ...]) -> str:
        texts, numbers = zip(row[:3], widths[:3], strict=True), zip(row[3:], widths[3:], strict=True)
        return "  ".join([f"{cell:<{w}}" for cell, w in texts] + [f"{cell:>{w}}" for cell, w in numbers])

    held, for_learning = parameters * _itemsize(net), 2 * _learning(net) * _itemsize(net)
    return "\n".join(
        [
            line(header),
            rule,
            *map(line, cells),
            rule,
            line(total),
            "",
            f"Parameters: {_mib(held)} MiB; in training with gradients and momentum: {_mib(held + for_learning)} MiB",
            f"Activations of {shape[0]} in a batch: {_mib(activations)} MiB",
        ]
    )


def algorithms(net: Layer, shape: Sequence[int]) -> str:
    """A line for every convolution: what it takes, and the algorithm that its device uses for inputs of ``shape``.

    Convolutions inside a layer with a forward of its own are not listed: what they take is not known.
    """
    cells = [
        (name, str(taken), str(layer.kernel_size), str(layer.stride), layer.backend.device, layer.algorithm(taken))
        for name, layer, taken in _walk(net, _sizes("summary", "shape", shape, "(N, H, W, C)"))
        if isinstance(layer, Conv2d) and type(layer) is Conv2d
    ]
    table = [("layer", "input", "kernel", "stride", "device", "algorithm"), *cells]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join("  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in table)


def torchsummary(net: Layer, input_size: Sequence[int], batch_size: int = -1) -> str:
    """torchsummary's table for inputs of ``input_size``, in torch's order (C, H, W) and without the batch.

    As there, the megabytes are of 2^20 bytes and take every number for four bytes, and a ``batch_size``
    of -1 counts as 1 in them. Raises TypeError or ValueError as ``rows`` does.
    """
    sizes = _sizes("torchsummary", "input_size", input_size, "(C, H, W)")
    images = 1 if batch_size == -1 else integer("torchsummary", "batch_size", batch_size)
    try:
        walked = _walk(net, (images, *sizes[1:], sizes[0]))
    except ValueError as error:
        raise ValueError(f"torchsummary: input_size {sizes} as (C, H, W): {error}") from error

    def line(layer: str, output_shape: str, parameters: str) -> str:
        return f"{layer:>20}  {output_shape:>25} {parameters:>15}"

    lines: list[str] = []
    outputs = parameters = 0
    for _, layer, taken in walked:
        if not getattr(layer, "listed", True):
            continue
        _, *spatial, channels = made = layer.output_shape(taken)
        name = f"{type(layer).__name__}-{len(lines) + 1}"
        lines.append(line(name, str([batch_size, channels, *spatial]), f"{_count(layer):,}"))
        outputs += prod(made)
        parameters += _count(layer)

    learning = _learning(net)
    inputs = images * prod(sizes)
    activations = 2 * outputs  # each has a gradient
    return "\n".join(
        [
            "-" * 64,
            line("Layer (type)", "Output Shape", "Param #"),
            "=" * 64,
            *lines,
            "=" * 64,
            f"Total params: {parameters:,}",
            f"Trainable params: {learning:,}",
            f"Non-trainable params: {parameters - learning:,}",
            "-" * 64,
            f"Input size (MB): {inputs * 4 / MIB:.2f}",
            f"Forward/backward pass size (MB): {activations * 4 / MIB:.2f}",
            f"Params size (MB): {parameters * 4 / MIB:.2f}",
            f"Estimated Total Size (MB): {(inputs + activations + parameters) * 4 / MIB:.2f}",
            "-" * 64,
        ]
    )


def keras(net: Layer, input_shape: Sequence[int] = (227, 227, 3), style: str = "keras2") -> str:
    """Keras's table for inputs of ``input_shape``, (H, W, C) without the batch.

    ``style`` is "keras2" (tf.keras up to 2.6) or "keras3" (at its full width of 88 columns). As in a Keras
    model, a ReLU or softmax behind a convolution or linear layer is that layer's argument and has no row.
    Raises TypeError or ValueError as ``rows`` does.
    """
    if style not in ("keras2", "keras3"):
        raise ValueError(f"keras: style: expected 'keras2' or 'keras3', got {style!r}")
    sizes = _sizes("keras", "input_shape", input_shape, "(H, W, C)")
    cells: list[tuple[str, str, int]] = []
    seen: Counter[str] = Counter()
    previous: Layer | None = None
    for _, layer, taken in _walk(net, (1, *sizes)):
        if not (type(layer) in (ReLU, Softmax) and type(previous) in (Conv2d, Linear)):
            kind = KERAS_NAMES.get(type(layer).__name__, type(layer).__name__)
            name = _snake_case(kind)
            number = f"_{seen[name]}" if seen[name] else ""
            seen[name] += 1
            cells.append((f"{name}{number} ({kind})", str((None, *layer.output_shape(taken)[1:])), _count(layer)))
        previous = layer
    learning = _learning(net)
    return _keras2_table(cells, learning) if style == "keras2" else _keras3_table(cells, learning, _itemsize(net))


def _keras2_table(cells: list[tuple[str, str, int]], learning: int) -> str:
    """tf.keras's layout: columns that end at 29, 55 and 65, and cut off what is longer."""

    def line(*row: Any) -> str:
        text = ""
        for cell, end in zip(row, (29, 55, 65), strict=True):
            text = (text[:-1] + " " if text else "") + str(cell)
            text = text[:end].ljust(end)
        return text

    body = ("\n" + "_" * 65 + "\n").join(line(*row) for row in cells)
    total = sum(parameters for _, _, parameters in cells)
    return "\n".join(
        [
            'Model: "sequential"',
            "_" * 65,
            line("Layer (type)", "Output Shape", "Param #"),
            "=" * 65,
            body,
            "=" * 65,
            f"Total params: {total:,}",
            f"Trainable params: {learning:,}",
            f"Non-trainable params: {total - learning:,}",
            "_" * 65,
        ]
    )


def _keras3_table(cells: list[tuple[str, str, int]], learning: int, itemsize: int) -> str:
    """Keras 3's layout: box drawing, cells of 36, 27 and 15 characters that wrap what is longer."""
    widths = (36, 27, 15)

    def rule(left: str, dash: str, crossing: str, right: str) -> str:
        return left + crossing.join(dash * (width + 2) for width in widths) + right

    def line(row: tuple[str, str, str], bar: str) -> str:
        wrapped = [wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
        height = max(map(len, wrapped))
        columns = [cell + [""] * (height - len(cell)) for cell in wrapped]
        return "\n".join(
            f"{bar} {name:<{widths[0]}} {bar} {shape:<{widths[1]}} {bar} {count:>{widths[2]}} {bar}"
            for name, shape, count in zip(*columns, strict=True)
        )

    body = ("\n" + rule("├", "─", "┼", "┤") + "\n").join(line((name, shape, f"{n:,}"), "│") for name, shape, n in cells)
    total = sum(parameters for _, _, parameters in cells)
    kinds = (("Total", total), ("Trainable", learning), ("Non-trainable", total - learning))
    return "\n".join(
        [
            'Model: "sequential"',
            rule("┏", "━", "┳", "┓"),
            line(("Layer (type)", "Output Shape", "Param #"), "┃"),
            rule("┡", "━", "╇", "┩"),
            body,
            rule("└", "─", "┴", "┘"),
            *(f" {kind} params: {count:,} ({_keras3_memory(count * itemsize)})" for kind, count in kinds),
        ]
    )


def _keras3_memory(size: float) -> str:
    """Bytes in the unit that leaves a number below 1024."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024:
            return f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} TB"


def _walk(net: Layer, shape: Shape) -> list[tuple[str, Layer, Shape]]:
    """Every step of forward with its path and the shape that it takes."""
    if not isinstance(net, Layer):
        raise TypeError(f"summary: net: expected a network or layer of alexnet_np, got {type(net).__name__}")
    net.output_shape(shape)  # a misfit is told in the whole network's terms, before any layer's
    walked = []
    for name, layer in net.steps():
        walked.append((name, layer, shape))
        shape = layer.output_shape(shape)
    return walked


def _sizes(where: str, name: str, value: Any, expected: str) -> Shape:
    if not isinstance(value, Sequence) or not value:
        raise ValueError(f"{where}: {name}: expected {expected}, got {value!r}")
    return tuple(integer(where, name, size) for size in value)


def _count(layer: Layer) -> int:
    return sum(parameter.data.size for _, parameter in layer.named_parameters())


def _macs(layer: Layer, shape: Shape) -> int | None:
    """The layer's multiply-adds; None where they are not known."""
    if not (describes_forward(layer, "macs") or isinstance(layer, Container) or type(layer).macs is Layer.macs):
        return None
    try:
        return layer.macs(shape)
    except NotImplementedError:
        return None


def _learning(net: Layer) -> int:
    """How many numbers learn: all but those of frozen parameters."""
    return sum(parameter.data.size for _, parameter in net.named_parameters() if parameter.requires_grad)


def _itemsize(net: Layer) -> int:
    """Bytes of a number: float32's where there is no parameter to ask."""
    parameters = net.named_parameters()
    return parameters[0][1].data.itemsize if parameters else 4


def _mib(size: int) -> str:
    return f"{size / MIB:,.2f}"


def _snake_case(name: str) -> str:
    """Keras's rule: MaxPooling2D -> max_pooling2d, ReLU -> re_lu."""
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()
