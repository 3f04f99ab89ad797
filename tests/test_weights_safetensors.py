"""safetensors files: every float dtype gives its values, everything else and every damage a sentence."""

import json

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from alexnet_np import layers, models, weights


def small_net(seed=0):
    rng = np.random.default_rng(seed)
    return models.Network(flatten=layers.Flatten(), classifier=layers.Sequential(layers.Linear(4, 3, rng=rng)))


def raw(header, numbers=b""):
    """A file of this header, a text or what JSON holds."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    return len(text).to_bytes(8, "little") + text + numbers


TENSOR = {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}
GOOD = {"classifier.0.bias": TENSOR}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_that_torch_writes_give_their_values(tmp_path, dtype):
    state = {name: torch.from_numpy(array.copy()).to(dtype) for name, array in small_net().torch_state_dict().items()}
    state["classifier.0.bias"] = torch.tensor([-1.5, 65280.0, 1e-3]).to(dtype)
    safetensors.torch.save_file(state, tmp_path / "a.safetensors")
    net = small_net(seed=1)
    weights.load(net, tmp_path / "a.safetensors")
    for name, array in net.torch_state_dict().items():
        np.testing.assert_array_equal(array, state[name].float().numpy())


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.bool, torch.int64, torch.float8_e4m3fn])
def test_other_dtypes_are_refused_by_name(tmp_path, dtype):
    state = {name: torch.from_numpy(array.copy()) for name, array in small_net().torch_state_dict().items()}
    state["classifier.0.bias"] = torch.ones(3).to(dtype)
    safetensors.torch.save_file(state, tmp_path / "a.safetensors")
    net = small_net()
    before = net.torch_state_dict()["classifier.0.bias"].copy()
    expected = r"a\.safetensors cannot be read as safetensors \(classifier\.0\.bias: expected floating-point numbers "
    with pytest.raises(ValueError, match=expected) as caught:
        weights.load(net, tmp_path / "a.safetensors")
    assert ("quantised" in str(caught.value)) == (dtype.itemsize == 1 and dtype != torch.bool)
    np.testing.assert_array_equal(net.torch_state_dict()["classifier.0.bias"], before)


@pytest.mark.parametrize("kind", ["int8", "bool", "int64", "complex64"])
def test_arrays_of_other_dtypes_are_refused_too(kind):
    net = small_net()
    for state, load in ((net.state_dict(), net.load_state_dict), (net.torch_state_dict(), net.load_torch_state_dict)):
        with pytest.raises(ValueError, match=rf"classifier\.0\.bias: expected floating-point numbers, got {kind}"):
            load({**state, "classifier.0.bias": np.ones(3, kind)})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            (2**63).to_bytes(8, "little") + b"{" + bytes(100),
            "its header is said to have 9,223,372,036,854,775,808 bytes",
        ),
        (raw(GOOD, bytes(12))[:30], "its header is said to have"),
        (raw(GOOD, bytes(11)), "expected 12 bytes of numbers, got 11"),
        (raw(GOOD, bytes(13)), "expected 12 bytes of numbers, got 13"),
        (raw("{" * 100_000), "its header is damaged"),
        (raw('{"a":' + "[" * 100_000 + "]" * 100_000 + "}"), "its header is damaged"),
        (raw('{"a": {}, "a": {}}'), "a name stands in it twice"),
        (raw({"__metadata__": {"format": 1}}), "expected texts in __metadata__"),
        (raw({"a": 1}), "expected dtype, shape and data_offsets of 'a'"),
        (raw({"a": {**TENSOR, "shape": [True]}}, bytes(12)), "expected dtype, shape and data_offsets of 'a'"),
        (raw({"a": {**TENSOR, "shape": [-3]}}, bytes(12)), "expected dtype, shape and data_offsets of 'a'"),
        (raw({"a": {**TENSOR, "shape": [10**12]}}, bytes(12)), "a: expected 4,000,000,000,000 bytes, got 12"),
        (raw({"a": {**TENSOR, "data_offsets": [4, 16]}}, bytes(16)), "a: expected its numbers at byte 0, got 4"),
        (raw({"a": {**TENSOR, "shape": [10**30]}}, bytes(12)), "expected dtype, shape and data_offsets of 'a'"),
        (
            raw({"a": {**TENSOR, "shape": [0, 2**62, 4], "data_offsets": [0, 0]}}),
            "a: expected a shape that fits into memory, got [0, 4611686018427387904, 4]",
        ),
        (raw({str(number): TENSOR for number in range(10_001)}), "expected at most 10,000 tensors, got 10,001"),
        (raw({"a": TENSOR, "b": TENSOR}, bytes(12)), "b: expected its numbers at byte 12, got 0"),
    ],
)
def test_damaged_files_meet_a_sentence(tmp_path, content, message):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    for read in (weights.read, weights.read_description):
        with pytest.raises(ValueError, match="cannot be read as safetensors") as caught:
            read(path)
        assert message in str(caught.value)


def test_what_is_written_is_what_the_safetensors_package_reads(tmp_path):
    """To the bit, with the metadata that torch's users expect; and the same weights give the same bytes."""
    net = small_net()
    for name in ("a.safetensors", "b.safetensors"):
        weights.save(net, tmp_path / name)
    with safetensors.safe_open(tmp_path / "a.safetensors", "numpy") as file:
        assert file.metadata() == {"format": "pt"}
    state = safetensors.numpy.load_file(tmp_path / "a.safetensors")
    for name, array in net.torch_state_dict().items():
        np.testing.assert_array_equal(state[name], array)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert weights.read_description(tmp_path / "a.safetensors") is None


def test_double_precision_is_kept(tmp_path):
    net = small_net().to("cpu", "float64")
    weights.save(net, tmp_path / "a.safetensors")
    assert {array.dtype.name for array in safetensors.numpy.load_file(tmp_path / "a.safetensors").values()} == {
        "float64"
    }
    with pytest.raises(ValueError, match="expected float16, float32 or float64 numbers, got complex128"):
        weights.save(net.to("cpu", "complex128"), tmp_path / "a.safetensors")
