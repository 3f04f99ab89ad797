"""Hypothesis's profiles, for all tests: HYPOTHESIS_PROFILE=nightly looks further, at other examples each time.
And what the tests of several commands begin with.

With ``-m gpu`` only tests/gpu is looked at: a machine with a GPU need not have what the other tests import, Hypothesis
included.
"""

import os
from pathlib import Path

import pytest

try:
    from hypothesis import HealthCheck, settings
except ImportError:
    pass
else:
    # The examples of ci are always the same: a database of those that failed would only leave files behind.
    settings.register_profile("ci", max_examples=25, deadline=None, derandomize=True, database=None)
    settings.register_profile("nightly", max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_ignore_collect(collection_path, config):
    here, gpu = Path(__file__).parent, Path(__file__).parent / "gpu"
    if config.option.markexpr == "gpu" and collection_path.parent == here and collection_path != gpu:
        return True
    return None


@pytest.fixture(scope="session")
def colours(tmp_path_factory):
    """A folder of three classes with five pictures each, for reading."""
    from pictures import write_class_folders

    return write_class_folders(tmp_path_factory.mktemp("data") / "colours", 5)


@pytest.fixture
def small_and_elsewhere(tmp_path, monkeypatch):
    """Commands make a small network for AlexNet, and start in an empty folder."""
    from pictures import small_network

    from alexnet_np import models

    monkeypatch.setattr(models, "alexnet", small_network)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def undrawn(monkeypatch):
    """Runs end without figures, which take most of the time of so small a run."""
    from alexnet_np import artist

    monkeypatch.setattr(artist, "draw", lambda jobs, tell: None)
