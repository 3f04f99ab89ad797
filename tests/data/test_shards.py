"""Tar files in WebDataset's convention, read in sequence."""

import tarfile
from collections import Counter
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, strategies as st
from pictures import write_noise
from PIL import Image

from alexnet_np import data
from alexnet_np.data import shard_files, shards

PREPARATION = data.Preparation(5, 6, True, (0.5,) * 3, (0.5,) * 3)


def png(number):
    """A picture that tells its number."""
    content = BytesIO()
    Image.new("RGB", (7, 6), (number % 256, number // 256, 9)).save(content, "png")
    return content.getvalue()


def number(image):
    return int(image[0, 0, 0]) + 256 * int(image[0, 0, 1])


def write_tar(path, members):
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, BytesIO(content))
    return path


def write_shards(folder, sizes, part="train", classes=3):
    """Shards of so many samples each, numbered through; a sample's label is its number modulo ``classes``."""
    folder.mkdir(exist_ok=True)
    first = 0
    for k, size in enumerate(sizes):
        members = []
        for n in range(first, first + size):
            members += [(f"some/{n:04}.png", png(n)), (f"some/{n:04}.cls", str(n % classes).encode())]
        write_tar(folder / f"{part}-{k:03}.tar", members)
        first += size
    return folder


def test_samples_are_read_with_their_labels(tmp_path):
    write_shards(tmp_path, [5, 3], "train")
    write_shards(tmp_path, [4], "val")
    loaded = data.load(tmp_path)
    assert (len(loaded.train), len(loaded.test), loaded.photographs, loaded.size) == (8, 4, True, 224)
    assert loaded.train.classes == ["0", "1", "2"]
    assert [number(loaded.train.image(i)) for i in range(8)] == list(range(8))
    assert loaded.train.labels.tolist() == [n % 3 for n in range(8)]
    assert loaded.train.where(6) == f"{tmp_path / 'train-001.tar'}: some/0006.png"


def test_classes_may_have_names(tmp_path):
    write_shards(tmp_path, [6])
    (tmp_path / "classes.txt").write_text("red fox\nhare\nowl\nlynx\n")
    assert data.load(tmp_path).train.classes == ["red fox", "hare", "owl", "lynx"]


def test_a_pattern_names_shards_and_a_share_is_held_out(tmp_path):
    write_shards(tmp_path, [9, 9, 9])
    for pattern in ("train-{000..001}.tar", "train-00[01].tar", "train-00{0,1}.tar"):
        loaded = data.load(f"{tmp_path}/{pattern}")
        assert (loaded.name, len(loaded.train) + len(loaded.test)) == (tmp_path.name, 18)
        assert np.bincount(loaded.test.labels).tolist() == [1, 1, 1]
        seen = [number(part.image(i)) for part in (loaded.train, loaded.test) for i in range(len(part))]
        assert sorted(seen) == list(range(18))
    with pytest.raises(FileNotFoundError, match=r"there is no file .*train-003\.tar"):
        data.load(f"{tmp_path}/train-{{000..003}}.tar")


def test_braces_are_expanded_as_by_a_shell():
    assert list(shard_files.expand_braces("a-{08..10}.tar")) == ["a-08.tar", "a-09.tar", "a-10.tar"]
    assert list(shard_files.expand_braces("{a,b}{0..1}")) == ["a0", "a1", "b0", "b1"]
    assert list(shard_files.expand_braces("plain")) == ["plain"]


def test_braces_may_name_very_many(tmp_path):
    write_shards(tmp_path, [3])
    (tmp_path / "train-000.tar").rename(tmp_path / "train-0000.tar")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*train-0001\.tar"):
        data.load(f"{tmp_path}/train-{{0000..9999999999999999}}.tar")
    with pytest.raises(data.DataError, match=r"expected numbers that rise in braces, got \{3\.\.1\}"):
        data.load(f"{tmp_path}/train-{{3..1}}.tar")


def test_one_shard_and_capitals(tmp_path):
    write_shards(tmp_path, [6])
    (tmp_path / "train-000.tar").rename(tmp_path / "TRAIN-000.TAR")
    write_shards(tmp_path, [6])
    (tmp_path / "train-000.tar").rename(tmp_path / "Val.Tar")
    for source in (tmp_path, f"{tmp_path}/*.[tT]*"):
        assert (len(data.load(source).train), len(data.load(source).test)) == (6, 6)
    alone = data.load(tmp_path / "TRAIN-000.TAR")
    assert len(alone.train) + len(alone.test) == 6


def test_other_files_of_a_sample_are_passed_over_and_names_end_at_the_first_dot(tmp_path):
    members = [
        ("a/x.y/1.seg.png", png(1)),
        ("a/x.y/1.cls", b"0\n"),
        ("a/x.y/1.json", b"{}"),
        ("2.JPEG", png(2)),
        ("2.cls", b"1"),
    ]
    loaded = shards.open_shards([write_tar(tmp_path / "s.tar", members)])
    assert [number(loaded.image(i)) for i in range(2)] == [1, 2]
    assert loaded.labels.tolist() == [0, 1]


class TestParts:
    """The names of shards say which part they are, or else those of their folders."""

    @pytest.mark.parametrize(
        ("train", "test"),
        [
            ("train", "val"),
            ("imagenet1k-train", "imagenet1k-validation"),
            ("Training", "TESTING"),
            ("train/shard", "val/shard"),
            ("train/imagenet-train", "validation/imagenet"),
        ],
    )
    def test_validation_images_are_not_trained_on(self, tmp_path, train, test):
        for part, sizes in ((train, [5, 4]), (test, [3])):
            folder, _, name = f"./{part}".rpartition("/")
            write_shards(tmp_path / folder, sizes, name)
        pattern = f"{tmp_path}/{{{train},{test}}}*.tar"
        for source in (tmp_path, pattern):
            loaded = data.load(source)
            assert (len(loaded.train), len(loaded.test)) == (9, 3)
            assert all(path.as_posix().startswith((tmp_path / test).as_posix()) for path in loaded.test.paths)
            assert len(data.load_test(source)) == 3

    def test_test_shards_are_kept_aside_where_there_are_validation_shards(self, tmp_path):
        for part, size in (("train", 9), ("val", 4), ("test", 3)):
            write_shards(tmp_path, [size], part)
        loaded = data.load(tmp_path)
        assert (len(loaded.train), len(loaded.test), len(loaded.kept_aside)) == (9, 4, 3)
        assert loaded.notes[0].startswith(f"{tmp_path / 'test-000.tar'}, the test set, is kept aside")
        assert len(data.load_test(tmp_path)) == 3

    def test_names_in_classes_txt_may_lie_beside_the_folders_of_the_parts(self, tmp_path):
        for part in ("train", "val"):
            write_shards(tmp_path / part, [4], "shard")
        (tmp_path / "classes.txt").write_text("fox\nhare\nowl\n")
        assert data.load(tmp_path).test.classes == ["fox", "hare", "owl"]

    def test_a_test_part_alone_is_enough_to_test_on(self, tmp_path):
        write_shards(tmp_path, [3], "val")
        write_shards(tmp_path, [4], "test")
        assert len(data.load_test(tmp_path)) == 4
        assert len(data.load_test(str(tmp_path / "val-*.tar"))) == 3

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (["train", "others"], r"others-000\.tar: expected a name that says the part of the data .*train-000"),
            (["val"], "expected a training part, found only .*val-000"),
            (["val/shard"], "expected a training part, found only .*shard-000"),
            (["train-and-val"], "says two parts of a data set"),
            (["train/val", "val/val"], "its name says the validation part, its folder the training part"),
            (["shard", "val/shard"], "expected all shards in one place"),
        ],
    )
    def test_what_can_be_taken_for_two_things_is_refused(self, tmp_path, names, message):
        for name in names:
            folder, _, name = f"./{name}".rpartition("/")
            write_shards(tmp_path / folder, [4], name)
        with pytest.raises(data.DataError, match=message):
            data.load(tmp_path)

    def test_the_folder_that_the_user_names_says_nothing(self, tmp_path):
        write_shards(tmp_path / "test", [9], "shard")
        assert len(data.load(tmp_path / "test").train) == 6
        assert len(data.load(f"{tmp_path}/test/*.tar").train) == 6

    def test_what_is_no_file_is_not_opened(self, tmp_path):
        write_shards(tmp_path, [3])
        (tmp_path / "train-001.tar").mkdir()
        with pytest.raises(data.DataError, match=r"train-001\.tar: expected a tar file, got a folder, a pipe"):
            data.load(tmp_path)

    def test_shards_beside_class_folders_are_refused(self, tmp_path):
        write_shards(tmp_path, [9])
        write_noise(tmp_path, "cat/0.png")
        assert "the images in cat/ are ignored" in data.load(tmp_path).notes[0]
        write_noise(tmp_path, "dog/0.png")
        with pytest.raises(data.DataError, match=r"got tar shards and folders with images \(cat/, dog/\)"):
            data.load(tmp_path)

    def test_an_image_has_a_bound(self, tmp_path, monkeypatch):
        """A tar file can be sparse: what it says to hold takes no room on the disk."""
        monkeypatch.setattr(shards, "MAX_MEMORY", 50)
        dataset = data.load(write_shards(tmp_path, [9])).train
        with pytest.raises(OSError, match="expected at most 50 bytes"):
            dataset.image(0)
        for picture in dataset.reading(np.arange(2)):
            with pytest.raises(data.PictureError, match="expected at most 50 bytes"):
                picture()

    def test_a_label_out_of_range_is_told_with_its_shard_and_sample(self, tmp_path):
        write_shards(tmp_path, [4])
        write_shards(tmp_path, [2, 5], "val", classes=5)
        with pytest.raises(data.DataError, match=r"val-001\.tar: some/0003\.png: labels: expected 0 to 2, got 3"):
            data.load(tmp_path)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("1.png", png(1)), ("2.png", png(2)), ("2.cls", b"1")], r"sample 1: expected .* got no \.cls"),
        ([("1.cls", b"1")], "sample 1: expected .* got no picture"),
        ([("1.png", png(1)), ("1.cls", b"fox")], r"1\.cls: expected a whole number from 0 to 999,999, got b'fox'"),
        ([("1.png", png(1)), ("1.cls", b"-1")], r"s\.tar: 1\.cls: expected a whole number from 0 .* got b'-1'"),
        ([("1.png", png(1)), ("1.cls", b"1_0")], r"s\.tar: 1\.cls: expected a whole number from 0 .* got b'1_0'"),
        ([("1.png", png(1)), ("1.cls", b"1000000000")], r"s\.tar: 1\.cls: expected .* to 999,999, got b'1000000000'"),
        ([("1.png", png(1)), ("1.cls", b"9" * 10_000)], r"s\.tar: 1\.cls: expected .* to 999,999, got b'99999"),
        (
            [("1.png", png(1)), ("1.cls", b"0"), ("2.png", png(2)), ("2.cls", b"10000")],
            "labels below 10,000 .* got 10,000",
        ),
        (
            [("1.jpg", png(1)), ("1.seg.png", png(2)), ("1.cls", b"0")],
            r"s\.tar: sample 1: expected one picture, got 1\.jpg and 1\.seg\.png",
        ),
        ([], "expected samples, .* found none"),
    ],
)
def test_what_does_not_follow_the_convention_is_refused_in_a_sentence(tmp_path, members, message):
    with pytest.raises(data.DataError, match=message):
        shards.open_shards([write_tar(tmp_path / "s.tar", members)], None)


def test_damaged_shards_are_refused_in_a_sentence(tmp_path):
    path = write_shards(tmp_path, [5]) / "train-000.tar"
    whole = path.read_bytes()
    half_a_picture = 512 + 20
    no_header = bytearray(whole)
    no_header[4 * 1024 : 4 * 1024 + 512] = b"?" * 512
    for content in (whole[:half_a_picture], bytes(no_header), b"no tar" * 200, b""):
        path.write_bytes(content)
        with pytest.raises(data.DataError, match=r"train-000\.tar: (is no uncompressed tar file|expected samples)"):
            data.load(tmp_path)


class TestIndex:
    @pytest.fixture
    def paths(self, tmp_path):
        return sorted(write_shards(tmp_path, [4, 5]).glob("*.tar"))

    @staticmethod
    def read(paths):
        """Which shards are read to open them, and what is found."""
        read = []

        def recorded(path, samples=shards._samples):
            read.append(path.name)
            return samples(path)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shards, "_samples", recorded)
            dataset = shards.open_shards(paths)
        assert [number(dataset.image(i)) for i in range(len(dataset))] == list(range(len(dataset)))
        return read, dataset

    def test_headers_are_read_once(self, paths):
        assert self.read(paths)[0] == ["train-000.tar", "train-001.tar"]
        names, dataset = self.read(paths)
        assert (names, len(dataset)) == ([], 9)
        assert dataset.where(8) == f"{paths[1]}: some/0008.png"

    def test_a_shard_that_has_changed_is_read_again(self, paths, tmp_path):
        self.read(paths)
        write_shards(tmp_path, [4, 7])
        names, dataset = self.read(paths)
        assert ("train-001.tar" in names, len(dataset)) == (True, 11)

    def test_an_index_that_is_damaged_or_cannot_be_written_is_no_loss(self, paths, tmp_path, monkeypatch):
        self.read(paths)
        (tmp_path / shards.INDEX).write_text("{")
        assert len(self.read(paths)[0]) == 2
        (tmp_path / shards.INDEX).unlink()

        def read_only(path):
            raise PermissionError(13, "read-only", str(path))

        monkeypatch.setattr(shards, "written_whole", read_only)
        assert len(self.read(paths)[1]) == 9
        assert not (tmp_path / shards.INDEX).exists()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 12), st.integers(0, 9))
def test_an_epoch_has_every_picture_once_reads_in_sequence_and_keeps_few(tmp_path_factory, sizes, buffer, seed):
    folder = tmp_path_factory.getbasetemp() / f"shards-{'-'.join(map(str, sizes))}"
    if not folder.is_dir():
        write_shards(folder, sizes)
    dataset = shards.open_shards(sorted(folder.glob("*.tar")))
    reads = []

    def recorded(file, index, read=dataset._read):
        reads.append(index)
        return read(file, index)

    dataset._read = recorded
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "BUFFER", buffer)
        order = dataset.order(np.random.default_rng(seed))
    assert sorted(order) == list(range(len(dataset)))
    delivered = []
    for picture in dataset.reading(order):
        delivered.append(number(picture()))
        assert len(reads) - len(delivered) <= buffer
    assert delivered == order.tolist()
    assert sorted(reads) == list(range(len(dataset)))
    for shard in range(len(sizes)):
        of_shard = [index for index in reads if dataset.shard[index] == shard]
        assert of_shard == sorted(of_shard)


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "BUFFER", 6)
    write_shards(tmp_path, [7, 5, 9], classes=21)
    return shards.open_shards(sorted(tmp_path.glob("*.tar")))


def collect(batches):
    images, labels = zip(*batches, strict=True)
    return np.concatenate(images), np.concatenate(labels)


def test_epochs_have_orders_of_their_own_that_a_seed_fixes(dataset):
    orders = [
        tuple(collect(data.Loader(dataset, PREPARATION, 4, s).batches(e))[1]) for s, e in [(0, 0), (0, 1), (1, 0)]
    ]
    assert len(set(orders)) == 3
    assert orders[0] == tuple(collect(data.Loader(dataset, PREPARATION, 4, 0, workers=5).batches(0))[1])
    shards_in_turn = [int(dataset.shard[i]) for i in orders[0]]
    assert max(Counter(shards_in_turn[:9]).values()) < 9  # mixed by the buffer


def test_an_epoch_taken_up_in_the_middle_is_the_rest_of_it(dataset):
    loader = data.Loader(dataset, PREPARATION, 4, seed=3)
    images, labels = collect(loader.batches(1))
    for first in range(1, len(loader)):
        rest_images, rest_labels = collect(loader.batches(1, first))
        np.testing.assert_array_equal(rest_labels, labels[4 * first :])
        np.testing.assert_array_equal(rest_images, images[4 * first :])


def test_a_shard_that_disappears_is_reported_and_the_epoch_goes_on(dataset):
    dataset.paths[1].unlink()
    loader = data.Loader(dataset, PREPARATION, 4, seed=3)
    _, labels = collect(loader.batches())
    assert len(labels) == 21
    assert set(labels) == set(range(21)) - set(range(7, 12))
    assert {path.rpartition("/")[2] for path in loader.skipped} == {f"{n:04}.png" for n in range(7, 12)}
    assert all("No such file" in reason for reason in loader.skipped.values())
    _, labels = collect(data.Loader(dataset, PREPARATION, 4).batches())
    assert labels.tolist() == [*range(7), *range(12, 21)]


def test_files_are_closed_when_an_epoch_ends_and_when_it_is_left(dataset):
    opened = []

    class Recording(type(dataset.paths[0])):
        def open(self, *arguments):
            opened.append(super().open(*arguments))
            return opened[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "paths", [Recording(path) for path in dataset.paths])
        batches = data.Loader(dataset, PREPARATION, 2, seed=3).batches()
        next(batches)
        batches.close()
        assert all(file.closed for file in opened)
        for _ in data.Loader(dataset, PREPARATION, 2, seed=3).batches():
            pass
        assert len(opened) >= 4
        assert all(file.closed for file in opened)
        pictures = dataset.reading(np.arange(len(dataset)))
        for _ in range(len(dataset)):
            next(pictures)
            assert sum(not file.closed for file in opened) <= 1  # a thousand shards are not open at once
