"""Pictures and labels: where they come from, how they are prepared, how batches of them arrive in time."""

from ..augmentations import AUGMENTATIONS as AUGMENTATIONS
from .classes import are_numbers as are_numbers, match as match
from .dataset import Arrays as Arrays, Data as Data, DataError as DataError, Dataset as Dataset, Files as Files
from .images import PictureError as PictureError
from .loader import Loader as Loader
from .parallel import WORKERS as WORKERS
from .preparation import Preparation as Preparation
from .sources import load as load, load_test as load_test
