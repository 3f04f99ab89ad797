"""torch's .pth files: what torch.save writes is read to the bit, and the worst of the others raises ValueError."""

import io
import os
import pickle
import sys
import tracemalloc
import zipfile
import zlib
from collections import OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from pictures import small_network

from alexnet_np import runs, weights
from alexnet_np.weights import pth, read

FORMATS = {"zip": True, "stream": False}
formats = pytest.mark.parametrize("format", FORMATS)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.pth"


def torch_save(value, path, format):
    torch.save(value, path, _use_new_zipfile_serialization=FORMATS[format])


def assert_equal(arrays, state):
    assert list(arrays) == list(state)
    for name, tensor in state.items():
        expected = tensor.detach().float().numpy() if tensor.dtype == torch.bfloat16 else tensor.detach().numpy()
        assert arrays[name].dtype.newbyteorder("=") == expected.dtype
        np.testing.assert_array_equal(arrays[name], expected)


# ---- what torch writes


@formats
def test_state_dicts_are_read_to_the_bit(path, format):
    """Of a module, in torch's own OrderedDict with _metadata."""
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, (3, 2)), torch.nn.Flatten(), torch.nn.Linear(6, 4))
    torch_save(net.state_dict(), path, format)
    assert_equal(read(path), net.state_dict())


@formats
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtypes(path, format, dtype):
    tensor = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    tensor[0] = torch.tensor([float("inf"), float("nan"), -0.0])
    torch_save({"a": tensor, "b": tensor[:0]}, path, format)
    assert_equal(read(path), {"a": tensor, "b": tensor[:0]})


@formats
def test_views_parameters_and_shared_storages(path, format):
    whole = torch.arange(60.0).reshape(3, 4, 5)
    state = {
        "whole": whole,
        "transposed": whole.permute(2, 0, 1),
        "part": whole[1:, ::2, 1:4],
        "number": whole[2, 3, 4],
        "one": whole[:1].expand(1, 4, 5),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    torch_save(state, path, format)
    arrays = read(path)
    assert_equal(arrays, state)
    assert not any(array.flags.writeable for array in arrays.values() if array.size)


def test_big_endian_files(path):
    """Written by rewriting one: the numbers turned round, and the file saying so."""
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.arange(3.0).bfloat16()}
    torch.save(state, path)
    members = unzip(path)
    root = next(iter(members)).partition("/")[0]
    members[f"{root}/byteorder"] = b"big"
    for key, code in (("0", "u4"), ("1", "u2")):
        members[f"{root}/data/{key}"] = np.frombuffer(members[f"{root}/data/{key}"], code).byteswap().tobytes()
    write_zip(path, members)
    assert_equal(read(path), state)


def test_big_endian_streams(path):
    write(path, "stream", {"a": good})
    whole = path.read_bytes()
    system, end = ({"protocol_version": 1001, "little_endian": little, "type_sizes": {}} for little in (True, False))
    numbers = (6).to_bytes(8, "big") + NUMBERS.astype(">f4").tobytes()
    path.write_bytes(whole.replace(pickled(system), pickled(end))[: -len(numbers)] + numbers)
    np.testing.assert_array_equal(read(path)["a"], NUMBERS.reshape(2, 3))


@formats
def test_other_protocols_of_pickles_meet_a_sentence(path, format):
    torch.save({"a": torch.ones(2)}, path, pickle_protocol=4, _use_new_zipfile_serialization=FORMATS[format])
    message = (
        "expected a pickle of protocol 2, as torch.save writes, got 4" if format == "zip" else "not a file of weights"
    )
    with pytest.raises(ValueError, match=message):
        read(path)


def test_python_2_wrote_ordered_dicts_as_lists_of_pairs(path):
    write(path, "stream", Call(OrderedDict, ([["a", tensor((2, 3), (3, 1))]],)))
    np.testing.assert_array_equal(read(path)["a"], NUMBERS.reshape(2, 3))


@formats
def test_the_stride_of_an_axis_of_one_number_does_not_matter(path, format):
    write(path, format, {"a": tensor((1, 3), (2**62, 2), 1)})
    np.testing.assert_array_equal(read(path)["a"], [[1, 3, 5]])


def test_the_name_of_the_file_says_nothing(tmp_path):
    for format in FORMATS:
        path = tmp_path / f"{format}.safetensors"
        torch_save({"a": torch.ones(2)}, path, format)
        assert_equal(read(path), {"a": torch.ones(2)})


# ---- files of another kind of author


class Call:
    """Pickled as a call of the function."""

    def __init__(self, function, arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class Reference:
    """Pickled as a persistent id."""

    def __init__(self, *identity):
        self.identity = identity[0] if len(identity) == 1 else identity


class Pickler(pickle.Pickler):
    suffix = ()

    def persistent_id(self, value):
        if not isinstance(value, Reference):
            return None
        return value.identity + self.suffix if isinstance(value.identity, tuple) else value.identity


def pickled(value, suffix=()):
    """In protocol 2; references get the suffix."""
    file = io.BytesIO()
    pickler = Pickler(file, protocol=2)
    pickler.suffix = suffix
    pickler.dump(value)
    return file.getvalue()


NUMBERS = np.arange(6, dtype=np.float32)
STORAGE = ("storage", torch.FloatStorage, "0", "cpu", 6)


def tensor(shape, strides, offset=0, storage=STORAGE):
    arguments = (Reference(*storage), offset, shape, strides, False, OrderedDict())
    return Call(torch._utils._rebuild_tensor_v2, arguments)


def unzip(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_zip(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def write(path, format, value):
    """A file of this value, an object or the bytes of a pickle, and of NUMBERS as storage "0"."""
    data = NUMBERS.tobytes()
    # Behind a storage's size, a stream says of which other one it is a part.
    body = value if isinstance(value, bytes) else pickled(value, () if format == "zip" else (None,))
    if format == "zip":
        write_zip(path, {"net/data.pkl": body, "net/byteorder": b"little", "net/data/0": data, "net/version": b"3\n"})
        return
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    head = [pth.MAGIC_NUMBER, 1001, system]
    count = (len(data) // 4).to_bytes(8, "little")
    path.write_bytes(b"".join([*map(pickled, head), body, pickled(["0"]), count, data]))


@formats
def test_the_files_written_here_are_torchs(path, format):
    """What the tests below change one thing about, torch and this project read alike."""
    write(path, format, OrderedDict(a=tensor((2, 2), (1, 3), 1)))
    np.testing.assert_array_equal(read(path)["a"], torch.load(path)["a"].numpy())


def nested(depth):
    """A tuple in a tuple in a tuple, as the key of a dict: hashing it would be as deep a recursion."""
    return b"\x80\x02})" + b"\x85" * depth + b"K\x01s."


def ordered_again_and_again(times, size):
    """OrderedDict called with one list of pairs, many times over."""
    pair = b"]q\x03(X\x01\x00\x00\x00aK\x01e"
    arguments = b"](" + pair + b"h\x03" * size + b"e\x85q\x02"
    return b"\x80\x02ccollections\nOrderedDict\nq\x01" + arguments + b"h\x01h\x02R" * times + b"K\x01."


good = tensor((2, 3), (3, 1))

HOSTILE = {
    "a command": Call(os.system, ("touch hacked",)),
    "a command among tensors": {"a": good, "b": Call(os.system, ("touch hacked",))},
    "a command as a shape": {"a": tensor(Call(os.system, ("touch hacked",)), (1,))},
    "a command as a storage": {"a": tensor((1,), (1,), storage=("storage", Call(eval, ("1",)), "0", "cpu", 6))},
    "a command as a storage's key": {"a": tensor((1,), (1,), storage=("storage", torch.FloatStorage, [], "cpu", 6))},
    "a function that is not called": {"a": eval},
    "another function of torch's": {"a": Call(torch.load, ("hacked",))},
    "torch's function with other arguments": {"a": Call(torch._utils._rebuild_tensor_v2, (1, 2))},
    "a call of a tensor": b"\x80\x02}X\x01\x00\x00\x00a})Rs.",
    "an OrderedDict of a string": Call(OrderedDict, ("ab",)),
    "a class": b"\x80\x02cos\nsystem\n)\x81.",
    "an object of protocol 4": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    "the old way to an object": b"(S'touch hacked'\nios\nsystem\n.",
    "attributes for a number": b"\x80\x02K\x01}b.",
    "a persistent id in words": b"\x80\x02Phacked\n.",
    "a persistent id of another kind": {"a": tensor((1,), (1,), storage=("module", torch.FloatStorage, "0", "cpu", 6))},
    "a persistent id that is a number": {"a": Reference(7)},
    "a view of a storage": {"a": tensor((1,), (1,), storage=(*STORAGE, ("0", 0, 2)))},
    "integers": {"a": tensor((1,), (1,), storage=("storage", torch.LongStorage, "0", "cpu", 6))},
    "a storage of another size": {"a": tensor((1,), (1,), storage=("storage", torch.FloatStorage, "0", "cpu", 5))},
    "a storage of a negative size": {"a": tensor((1,), (1,), storage=("storage", torch.FloatStorage, "0", "cpu", -6))},
    "a storage of 2**62 numbers": {"a": tensor((2**62,), (1,), storage=(*STORAGE[:4], 2**62))},
    "a storage of another dtype": {"a": tensor((1,), (1,), storage=("storage", torch.DoubleStorage, "0", "cpu", 6))},
    "a storage that is not there": {"a": tensor((1,), (1,), storage=(*STORAGE[:2], "1", "cpu", 6))},
    "a storage elsewhere": {"a": tensor((1,), (1,), storage=(*STORAGE[:2], "../../../etc/passwd", "cpu", 6))},
    "a storage in two ways": {"a": good, "b": tensor((1,), (1,), storage=(*STORAGE[:4], 7))},
    "a long key in two ways": {
        name: tensor((1,), (1,), storage=(*STORAGE[:2], "0" * 1000, "cpu", size)) for name, size in (("a", 6), ("b", 7))
    },
    "more than the storage": {"a": tensor((7,), (1,))},
    "an offset beyond the storage": {"a": tensor((2, 3), (3, 1), 1)},
    "a negative offset": {"a": tensor((1,), (1,), -1)},
    "negative strides": {"a": tensor((2, 3), (-3, -1), 5)},
    "strides that meet numbers twice": {"a": tensor((3, 3), (1, 1))},
    "strides of 0": {"a": tensor((2**40, 2), (0, 1))},
    "a huge shape": {"a": tensor((2**62, 2**62), (2**62, 1))},
    "a huge shape without numbers": {"a": tensor((2**62, 0, 2**62), (1, 1, 1))},
    "a number as a shape": {"a": tensor(6, 1)},
    "fractions in a shape": {"a": tensor((2.0,), (1,))},
    "truths in a shape": {"a": tensor((True,), (1,))},
    "another number of strides": {"a": tensor((2, 3), (1,))},
    "too many axes": {"a": tensor((1,) * 60, (1,) * 60)},
    "one list in many dicts": ordered_again_and_again(20_000, 20_000),
    "no dict": good,
    "a dict in the dict": {"a": {"b": good}},
    "itself": b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
    "a number": {"a": good, "epoch": 3},
    "a number as a name": {1: good},
    "a long name": {"a" * 1000: good},
    "a deep tuple as a name": nested(90_000),
    "no end": b"\x80\x02}",
    "nothing": b"",
    "no value": b"\x80\x02.",
    "more taken than there is": b"\x80\x02\x85.",
    "values without a beginning": b"\x80\x02}K\x01u.",
    "a key without a value": b"\x80\x02}(X\x01\x00\x00\x00au.",
    "items for a number": b"\x80\x02K\x01K\x01K\x02s.",
    "a value that was not kept": b"\x80\x02h\x07.",
    "a memory of 2**32 values": b"\x80\x02}r\xff\xff\xff\xff(X\x01\x00\x00\x00as.",
    "a text of 2**32 letters": b"\x80\x02X\xff\xff\xff\xffabc.",
    "a text that is no text": b"\x80\x02X\x01\x00\x00\x00\xff.",
    "a mark as the value": b"\x80\x02(.",
    "a mark in the dict": b"\x80\x02}X\x01\x00\x00\x00a(s.",
    "too many instructions": b"\x80\x02" + b"}" * 200_000 + b".",
}


@pytest.fixture
def little_memory():
    """At most 64 times the 400,000 bytes of the largest file here: Python's objects take more than instructions do."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 25e6


@formats
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.usefixtures("little_memory")
def test_hostile_pickles_meet_a_sentence(path, format, name, monkeypatch):
    monkeypatch.chdir(path.parent)
    write(path, format, HOSTILE[name])
    with pytest.raises(ValueError, match=r"^weights: .*net\.pth cannot be read as ") as caught:
        read(path)
    assert len(str(caught.value)) < 1000
    assert [file.name for file in path.parent.iterdir()] == ["net.pth"]


def test_the_sentence_names_what_was_asked_for(path):
    write(path, "zip", HOSTILE["a command among tensors"])
    with pytest.raises(ValueError, match=r"it asks for '(posix|nt)\.system', and only dicts of floating-point tensors"):
        read(path)


@pytest.mark.usefixtures("little_memory")
def test_hostile_zip_files_meet_a_sentence(path):
    write(path, "zip", {"a": good})
    members = unzip(path)
    zeros = 10**8
    bomb = {**members, "net/data.pkl": pickled({"a": tensor((1,), (1,), storage=(*STORAGE[:4], zeros // 4))})}

    write_zip(path, {**bomb, "net/data/0": bytes(zeros // 100)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"'net/data\.pkl' is compressed or encrypted"):
        read(path)
    for other, message in (
        ({}, r"expected one data\.pkl in the zip file, got 0"),
        ({**members, "other/data.pkl": b""}, "got 2"),
        ({**members, "net/byteorder": b"middle"}, "expected byteorder little or big, got b'middle'"),
        ({**members, "net/data/0": bytes(23)}, "expected 24 bytes in storage '0', got 23"),
        ({name: data for name, data in members.items() if "/data/" not in name}, "holds no 'net/data/0'"),
    ):
        write_zip(path, other or {"readme": b""})
        with pytest.raises(ValueError, match=message):
            read(path)


@formats
def test_pickles_that_are_too_long_are_not_read_to_their_end(path, format):
    text = b"X" + (2 * 10**6).to_bytes(4, "little") + b"a" * (2 * 10**6)
    write(path, format, pickled({"a": good}, () if format == "zip" else (None,)).replace(b"}", text + b"}", 1))
    with pytest.raises(ValueError, match="more than 1,000,000 bytes" if format == "zip" else "expected 2000000 bytes"):
        read(path)


@pytest.mark.usefixtures("little_memory")
def test_zip_files_of_too_many_members_meet_a_sentence(path):
    write_zip(path, {f"net/{k:05}": b"" for k in range(5_000)})
    with pytest.raises(ValueError, match="directory has more than 200,000 bytes"):
        read(path)


@pytest.mark.usefixtures("little_memory")
def test_members_within_members_are_not_read_each(path):
    """Each holds all that follow it, as in a zip bomb: 400 of up to 100 kB in a file of 140 kB."""
    count = 400
    infos, body = [], bytes(100_000)
    for k in reversed(range(count)):
        info = zipfile.ZipInfo(f"net/data/{k:05}")  # whose header has 44 bytes: all sizes are multiples of 4
        info.file_size = info.compress_size = len(body)
        info.CRC = zlib.crc32(body)
        infos.append(info)
        body = info.FileHeader(zip64=False) + body
    sizes = {info.filename[-5:]: info.file_size // 4 for info in infos}
    value = {f"a{key}": tensor((1,), (1,), storage=(*STORAGE[:2], key, "cpu", size)) for key, size in sizes.items()}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", pickled(value))
        start = archive.fp.tell()
        archive.fp.write(body)
        archive.start_dir = archive.fp.tell()
        for k, info in enumerate(reversed(infos)):
            info.header_offset = start + 44 * k
            archive.filelist.append(info)
            archive.NameToInfo[info.filename] = info
    # Newer Pythons notice it themselves.
    with pytest.raises(ValueError, match=r"more than the file has for it|Overlapped entries"):
        read(path)


@formats
def test_a_file_that_is_cut_short_meets_a_sentence(path, format):
    torch_save({"a": torch.arange(100.0), "b": torch.ones(3).double()}, path, format)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"weights: .*net\.pth"):
            read(path)


def test_keys_of_the_stream_must_be_those_of_its_tensors(path):
    write(path, "stream", {"a": good})
    whole = path.read_bytes()
    keys = pickled(["0"])
    for other in (["1"], ["0", "0"], ["0", 1], [], "0", {"0": 1}):
        path.write_bytes(whole.replace(keys, pickled(other)))
        with pytest.raises(ValueError, match="expected the keys of all storages"):
            read(path)
    path.write_bytes(whole.replace(pickled(1001), pickled(1002)))
    with pytest.raises(ValueError, match=r"expected torch\.save's magic number and protocol 1001"):
        read(path)
    path.write_bytes(whole.replace(b"little_endian", b"little_indian"))
    with pytest.raises(ValueError, match="expected a dict with little_endian"):
        read(path)


# ---- mutations

actions = []


def _note(event, arguments):
    if event.startswith(("os.", "subprocess.", "socket.", "shutil.", "pickle.", "ctypes.")):
        actions.append((event, arguments))


MUTATIONS = st.lists(
    st.tuples(st.sampled_from(["replace", "insert", "delete", "cut", "copy"]), st.floats(0, 1), st.integers(0, 255)),
    min_size=1,
    max_size=4,
)


def mutated(data, mutations):
    data = bytearray(data)
    for kind, where, byte in mutations:
        position = int(where * len(data))
        if kind == "cut":
            del data[position:]
        elif kind == "copy":  # a piece to where it does not belong
            data[byte:byte] = data[position : position + byte]
        else:
            data[position : position + (kind != "insert")] = b"" if kind == "delete" else bytes([byte])
    return bytes(data)


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """Files of both formats, and the pickle alone of one."""
    folder = tmp_path_factory.mktemp("valid")
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 2), torch.nn.Linear(3, 2).half())
    for format in FORMATS:
        torch_save(net.state_dict(), folder / format, format)
    members = unzip(folder / "zip")
    return {"zip": (folder / "zip").read_bytes(), "stream": (folder / "stream").read_bytes(), "pickle": members}


@pytest.fixture(scope="module", autouse=True)
def watch():
    """An audit hook cannot be taken away again: it stays, and costs little."""
    sys.addaudithook(_note)


@pytest.mark.parametrize("part", ["zip", "stream", "pickle"])
@settings(max_examples=20 * settings.default.max_examples)
@given(mutations=MUTATIONS)
def test_mutations_load_or_raise_value_error_and_do_nothing(valid, tmp_path_factory, part, mutations):
    """The pickle's within a zip file whose checksums are right: otherwise none would get further than these."""
    path = tmp_path_factory.getbasetemp() / "mutated.pth"
    if part == "pickle":
        pairs = valid[part].items()
        write_zip(path, {name: mutated(data, mutations) if name.endswith(".pkl") else data for name, data in pairs})
    else:
        path.write_bytes(mutated(valid[part], mutations))
    actions.clear()
    try:
        arrays = pth.read(path)
    except ValueError:
        arrays = {}
    assert actions == []
    for name, array in arrays.items():
        assert isinstance(name, str)
        array.copy()  # all of it lies in memory that is its own


def test_the_hook_notes_what_it_should(path):
    path.write_bytes(b"")
    actions.clear()
    pickle.loads(pickled({"a": os.getpid}))
    assert [event for event, _ in actions] == ["pickle.find_class"]


def test_a_checkpoint_and_a_parallel_network_get_advice(tmp_path):
    state = {name: torch.from_numpy(a.copy()) for name, a in small_network().torch_state_dict().items()}
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a dict as 'state_dict': save that alone, torch.save\(checkpoint\["):
        weights.read(tmp_path / "a.pth")
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, tmp_path / "a.pth")
    with pytest.raises(KeyError, match=r"a\.pth: .*: save net.module.state_dict\(\) instead"):
        weights.load(small_network(), tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"holds no AlexNet: .*: save net.module.state_dict\(\) instead"):
        runs.open_trained(tmp_path / "a.pth")
