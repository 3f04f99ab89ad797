"""What tells data from others: a run that is taken up again goes on with what it began with, or not at all."""

import json
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path

import numpy as np

from .dataset import Arrays, Dataset
from .preparation import Preparation


def digests(train: Dataset, test: Dataset, preparation: Preparation) -> dict[str, str]:
    """A digest of each of the three, by what a person calls it. OSError where the mean image cannot be read."""
    return {
        "training pictures": _of_dataset(train),
        "test pictures": _of_dataset(test),
        "preparation": of_preparation(preparation),
    }


def _of_dataset(dataset: Dataset) -> str:
    """Of classes, labels, and each picture's path, or its pixels where it is in memory. Files are not opened."""
    digest = blake2b(json.dumps(dataset.classes).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(dataset.labels).data)
    if isinstance(dataset, Arrays):
        digest.update(np.ascontiguousarray(dataset.images).data)
    else:
        for index in range(len(dataset)):
            digest.update(f"{dataset.where(index)}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def of_preparation(preparation: Preparation) -> str:
    """Of all settings, and of what is in the file of the mean image."""
    digest = blake2b(json.dumps(asdict(preparation)).encode(), digest_size=16)
    if isinstance(preparation.mean_image, str):
        digest.update(Path(preparation.mean_image).read_bytes())
    return digest.hexdigest()
