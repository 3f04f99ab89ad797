"""What a file of weights says of itself: its network, its classes, and how images are prepared for it.

The description stands as JSON under the name "alexnet_np" in the metadata of a safetensors or an ONNX file, so that the
file alone is enough to use it. It may come from a stranger: it is bounded, and every value is checked.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from ..reading import checked_fields, json_value

if TYPE_CHECKING:
    from ..data.preparation import Preparation
    from ..layers import Container

KEY = "alexnet_np"
FORMAT = 1  # one more where a program of today would misunderstand a description
MAX_LENGTH = 24_000_000  # characters of JSON: a mean image of 1024 pixels takes 17 million
MAX_NAME = 1000  # characters of a class's name
MAX_CLASSES = 1_000_000
MAX_PIXELS = 4096  # of a side


@dataclass(frozen=True)
class Description:
    """The ``model`` that weights belong to, its ``classes`` in the order of its outputs, and its ``preparation``.

    ``model`` is a name in alexnet_np.models; ``variant`` is of alexnet_2012, None of the others. ``version`` is that of
    the package that wrote the file.

    Raises ValueError where the classes have no names, and OSError or ValueError where the mean image cannot be read.

    Example:

        description = weights.Description("alexnet", None, ["cat", "dog"], data.Preparation.photographs())
        weights.save(net, "net.safetensors", description)
        print(weights.read_description("net.safetensors").classes)
    """

    model: str
    variant: str | None
    classes: Sequence[str]
    preparation: "Preparation"
    version: str = ""

    def __post_init__(self) -> None:
        from .. import __version__
        from ..data.preparation import Preparation

        for name, value in (
            ("model", self.model),
            ("variant", "" if self.variant is None else self.variant),
            ("version", self.version),
        ):
            _check_text(name, value)
        if not isinstance(self.classes, Sequence) or isinstance(self.classes, str):
            raise ValueError(f"description: classes: expected a list of names, got {self.classes!r:.200}")
        if not 1 <= len(self.classes) <= MAX_CLASSES:
            raise ValueError(f"description: classes: expected 1 to {MAX_CLASSES:,} names, got {len(self.classes):,}")
        for name in self.classes:
            _check_text("classes", name)
        if not isinstance(self.preparation, Preparation):
            raise ValueError(f"description: preparation: expected a Preparation, got {self.preparation!r:.200}")
        object.__setattr__(self, "classes", list(self.classes))
        object.__setattr__(self, "preparation", self.preparation.with_mean_image())
        object.__setattr__(self, "version", self.version or __version__)

    def check(self, net: "Container", size: tuple[int, int] | None = None) -> None:
        """ValueError where it is not of this network, for images of ``size`` (H, W) where that is fixed."""
        for name in ("model", "variant"):
            own, described = getattr(net, name, None), getattr(self, name)
            if own is not None and described != own:
                raise ValueError(f"description: {name}: expected {own}, as the network is, got {described!r:.200}")
        num_classes = getattr(net, "num_classes", None)  # a layer of one's own at the end does not say
        if num_classes not in (None, len(self.classes)):
            raise ValueError(f"description: classes: expected {num_classes} names, got {len(self.classes)}")
        side = self.preparation.size
        if size not in (None, (side, side)):
            raise ValueError(f"description: preparation: size: expected {size}, as the graph has it, got {side}")
        try:
            net.output_shape((1, side, side, 3))
        except NotImplementedError:  # a forward of its own that does not say
            pass
        except ValueError as error:
            raise ValueError(
                f"description: preparation: size: {side} pixels do not fit the network ({error})"
            ) from error

    def metadata(self) -> dict[str, str]:
        """For the metadata of a file."""
        values = {"format": FORMAT, **asdict(self), "images": self.preparation.in_words()}
        return {KEY: json.dumps(values)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self | None:
        """From the metadata of a file; None where it has no description. ValueError where that is wrong."""
        if KEY not in metadata:
            return None
        text = metadata[KEY]
        if not isinstance(text, str) or len(text) > MAX_LENGTH:
            raise ValueError(f"description: expected at most {MAX_LENGTH:,} characters of JSON")
        try:
            values = json_value(text)
        except ValueError as error:
            raise ValueError(f"description: cannot be read as JSON ({error})") from error
        if not isinstance(values, dict):
            raise ValueError(f"description: expected a JSON object, got {text!r:.200}")
        return cls(**_checked(values))


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a Description; what is not known is refused, for it might matter."""
    from ..data.preparation import Preparation

    number = values.pop("format", None)
    if type(number) is not int or number < 1:
        raise ValueError(f"description: format: expected a whole number from 1, got {number!r:.200}")
    if number > FORMAT:
        raise ValueError(
            f"description: it has format {number}, of a newer version of alexnet-np; this one reads up to {FORMAT}: "
            "upgrade it (pip install --upgrade alexnet-np)"
        )
    values.pop("images", None)  # the preparation in words
    values = checked_fields("description", values, Description, Preparation=Preparation)
    preparation = values["preparation"]
    if isinstance(preparation.mean_image, str):  # a path, of another machine
        raise ValueError(f"description: preparation: mean_image: expected pixels, got {preparation.mean_image!r:.200}")
    if preparation.resize > MAX_PIXELS:
        expected = f"at most {MAX_PIXELS} pixels"
        raise ValueError(f"description: preparation: resize: expected {expected}, got {preparation.resize}")
    return values


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str) or len(value) > MAX_NAME:
        raise ValueError(f"description: {name}: expected text of at most {MAX_NAME} characters, got {value!r:.200}")
