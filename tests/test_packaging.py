"""setup.cfg names packages and data by hand, for kernels/ moves on its way in: nothing may be forgotten."""

from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def config():
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", "utf-8")
    return parser


def package(folder):
    """The name that a folder of the repository is installed under."""
    name = ".".join(folder.relative_to(ROOT).parts)
    return name if name.startswith("alexnet_np") else f"alexnet_np.{name}"


def files(pattern):
    return [path for tree in ("alexnet_np", "kernels") for path in ROOT.glob(f"{tree}/**/{pattern}") if path.is_file()]


def test_every_package_is_installed(config):
    assert set(config["options"]["packages"].split()) == {package(path.parent) for path in files("*.py")}


def test_every_file_that_is_no_module_is_package_data(config):
    others = [path for path in files("*") if path.suffix != ".py" and "__pycache__" not in path.parts]
    assert others  # py.typed at least
    for path in others:
        patterns = config["options.package_data"].get(package(path.parent), "").split()
        assert any(path.match(pattern) for pattern in patterns), f"setup.cfg: package_data lacks {path.name}"
