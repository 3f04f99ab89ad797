"""The layers: parameters, what forward saves for backward, checks and printouts. The kernels are in kernels/."""

from .activation import ReLU as ReLU, Softmax as Softmax
from .base import Layer as Layer
from .container import Container as Container, Sequential as Sequential
from .conv2d import Conv2d as Conv2d
from .dropout import Dropout as Dropout
from .flatten import Flatten as Flatten
from .linear import Linear as Linear
from .norm import LocalResponseNorm as LocalResponseNorm
from .parameter import Parameter as Parameter
from .pool import AdaptiveAvgPool2d as AdaptiveAvgPool2d, MaxPool2d as MaxPool2d
