"""The books have the same chapters: the names and signatures of the reference book."""

from importlib import import_module
from inspect import signature

import pytest

from alexnet_np import backend

reference = import_module("alexnet_np.kernels.reference")
ENGINES = [device for device in backend.DEVICES if device != "reference"]


def parameters(function):
    """Names, kinds and defaults; annotations are free."""
    return [(p.name, p.kind, p.default) for p in signature(function).parameters.values()]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_book_offers_what_reference_has_with_the_same_signature(engine):
    module = import_module(f"alexnet_np.kernels.{engine}")
    assert sorted(module.__all__) == list(module.__all__)
    for name in module.__all__:
        assert name in reference.__all__, f"{engine}.{name}: not in the reference book"
        found, expected = parameters(getattr(module, name)), parameters(getattr(reference, name))
        assert found == expected, f"{engine}.{name}{signature(getattr(module, name))}"


@pytest.mark.parametrize("algorithm", backend.ALGORITHMS)
def test_a_forced_algorithm_changes_no_signature(algorithm):
    functions = vars(backend.get("cpu", algorithm).kernels)
    assert functions.keys() == set(reference.__all__)
    for name, function in functions.items():
        assert parameters(function) == parameters(getattr(reference, name)), name


@pytest.mark.parametrize("precision", backend.PRECISIONS)
def test_a_precision_changes_no_signature(precision):
    functions = vars(backend.Backend("gpu", precision=precision).kernels)
    assert functions.keys() == set(reference.__all__)
    for name, function in functions.items():
        assert parameters(function) == parameters(getattr(reference, name)), name


def test_forward_and_backward_come_in_pairs():
    for name in reference.__all__:
        if name.endswith("_forward"):
            assert name.removesuffix("_forward") + "_backward" in reference.__all__
            assert next(iter(signature(getattr(reference, name)).parameters)) in ("x", "logits")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_book_that_has_a_forward_has_its_backward(engine):
    """One saves what only the other understands."""
    names = set(import_module(f"alexnet_np.kernels.{engine}").__all__)
    for stem in {name.removesuffix("_forward").removesuffix("_backward") for name in names if name.endswith("ward")}:
        assert {f"{stem}_forward", f"{stem}_backward"} <= names
