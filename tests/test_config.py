"""Settings in TOML files: the same as by flags, which win; what is wrong is said with the file and the key."""

import argparse
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from pictures import small_network, write_class_folders

from alexnet_np import models, training
from alexnet_np.cli import config, main
from alexnet_np.cli.common import amount, count


def test_the_command_that_repeats_a_run_has_its_path_quoted(tmp_path):
    path = tmp_path / "a run.toml"
    config.write(path, argparse.ArgumentParser(), {})
    assert path.read_text().splitlines()[0].endswith(f"--config '{path}'")


@pytest.fixture(scope="module")
def parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path)
    group = parser.add_argument_group("things")
    group.add_argument("--batch-size", type=count, default=32)
    group.add_argument("--lr", type=amount, default=0.1)
    group.add_argument("--name", default="x")
    group.add_argument("--out", type=Path)
    group.add_argument("--kind", choices=("a", "b"), default="a")
    group.add_argument("--fast", action=argparse.BooleanOptionalAction, default=True)
    group.add_argument("--sizes", type=count, nargs="+")
    return parser


def read(parser, path, text):
    path.write_text(text, encoding="utf-8")
    return config.read(path, parser)


def test_values_are_those_that_flags_would_give(parser, tmp_path):
    text = 'batch_size = 7\nlr = 1e-3\nname = "ü b"\nout = "there"\nkind = "b"\nfast = false\nsizes = [3, 4]\n'
    expected = {
        "batch_size": 7, "lr": 1e-3, "name": "ü b", "out": Path("there"), "kind": "b", "fast": False, "sizes": [3, 4]
    }  # fmt: skip
    assert read(parser, tmp_path / "a.toml", text) == expected
    flags = ["--batch-size", "7", "--lr", "1e-3", "--out", "there", "--kind", "b", "--no-fast", "--sizes", "3", "4"]
    assert vars(parser.parse_args([*flags, "--name", "ü b"])) == {"config": None, **expected}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch-size = 3", "unknown setting batch-size, did you mean batch_size?"),
        ("lrr = 3", "unknown setting lrr, did you mean lr?"),
        ("wholly_other = 3", "unknown setting wholly_other (there are batch_size, fast, kind, lr, name, out, sizes)"),
        ('config = "b.toml"', "unknown setting config"),
        ("batch_size = 0", "batch_size: expected a whole number of at least 1, got '0'"),
        ("batch_size = 1.5", "batch_size: expected a whole number of at least 1, got '1.5'"),
        ("batch_size = true", "batch_size: expected a number or a text, got True"),
        ("lr = nan", "lr: expected a number of at least 0, got 'nan'"),
        ("fast = 1", "fast: expected true or false, got 1"),
        ('kind = "c"', "kind: expected one of a, b, got 'c'"),
        ("sizes = 3", "sizes: expected a list, got 3"),
        ("sizes = [3, 0]", "sizes: expected a whole number of at least 1, got '0'"),
        ("[lr]\nvalue = 1", "lr: expected a number or a text, got {'value': 1}"),
        ("lr = 0x" + "f" * 9999, "lr: Exceeds the limit"),
        ("lr = 1e999", "lr: expected a number of at least 0, got 'inf'"),
        ("lr = " + "[" * 9999, "cannot be read as TOML (it is nested too deeply)"),
        ('lr = "' + "1" * 9999 + '"', "lr: expected a number of at least 0"),
        ('"' + "a" * 9999 + '" = 1', "unknown setting aaaa"),
        ('"\\u001b[31m" = 1', "unknown setting \\x1b[31m"),
        ("lr = x", "cannot be read as TOML (Invalid value (at line 1, column 6))"),
        ("lr = 1\nlr = 2", "cannot be read as TOML (Cannot overwrite a value"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(parser, tmp_path, text, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011, the message follows
        read(parser, tmp_path / "a.toml", text)
    assert str(caught.value).startswith(f"{tmp_path / 'a.toml'}: {message}")


def test_a_file_that_is_not_there_or_no_text_is_said(parser, tmp_path):
    with pytest.raises(FileNotFoundError, match="config: there is no file"):
        config.read(tmp_path / "nowhere", parser)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="bytes: expected text in UTF-8"):
        config.read(tmp_path / "bytes", parser)
    with pytest.raises(ValueError, match="expected a file, got a folder"):
        config.read(tmp_path, parser)
    with pytest.raises(ValueError, match="at most 20,000 bytes"):  # of which the parser takes minutes and gigabytes
        read(parser, tmp_path / "long", "a." * 100_000 + "a = 1")


def test_a_byte_order_mark_is_read(parser, tmp_path):
    (tmp_path / "a.toml").write_bytes(b"\xef\xbb\xbflr = 1\n")
    assert config.read(tmp_path / "a.toml", parser) == {"lr": 1.0}


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be")
def test_any_name_of_a_folder_is_written_rightly_or_refused_before_the_run(colours, capsys):
    train = ["train", "--data", str(colours), "--epochs", "1", "--size", "63", "--batch-size", "8"]
    assert main([*train, "--out", "a\nb = 3\x1b[0m"]) == 0
    written = Path("a\nb = 3\x1b[0m")
    assert "b = 3" in (written / "config.toml").read_text().splitlines()[0]
    assert json.loads((written / "run.json").read_text())["repeat"].endswith(f"'{written}/config.toml'")
    assert main([*train, "--config", str(written / "config.toml"), "--out", "again"]) == 0
    capsys.readouterr()
    assert main([*train, "--out", "name\udcff"]) == 2
    assert "--out: expected a name in UTF-8, for the run's files to hold, got name\\udcff" in capsys.readouterr().err
    assert not Path("name\udcff").exists()


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(
    batch_size=st.integers(1, 10**20),
    lr=st.floats(0, allow_nan=False, allow_infinity=False),
    name=text,
    kind=st.sampled_from("ab"),
    fast=st.booleans(),
    sizes=st.none() | st.lists(st.integers(1, 9), min_size=1, max_size=3),
)
def test_what_is_written_is_read(tmp_path_factory, parser, **values):
    path = tmp_path_factory.getbasetemp() / "written.toml"
    config.write(path, parser, {**values, "out": Path("somewhere")})
    expected = {name: value for name, value in values.items() if value is not None}
    assert config.read(path, parser) == expected  # a run that is repeated has a folder of its own


# ---- as a user has them


@pytest.fixture
def colours(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "alexnet", small_network)
    monkeypatch.chdir(tmp_path)
    return write_class_folders(tmp_path / "colours", 5)


def settings_of(run):
    return Path(run, "config.toml").read_text(encoding="utf-8").splitlines()


def test_a_file_gives_defaults_and_flags_win_wherever_they_stand(colours):
    text = 'data = "colours"\nsize = 64\nepochs = 2\nbatch_size = 5\nema = 0.5\nlr = 0.5\nbias_decay = false\n'
    Path("mine.toml").write_text(text)
    for number, argv in enumerate((["--lr", "0.02", "--config", "mine.toml"], ["--config", "mine.toml", "--lr=0.02"])):
        assert main(["train", "--out", f"run{number}", *argv]) == 0
        lines = settings_of(f"run{number}")
        for line in ("epochs = 2", "lr = 0.02", "ema = 0.5", "bias_decay = false", 'schedule = "cosine"'):
            assert line in lines
        assert f'data = "{colours}"' in lines  # wherever the run is repeated from


def test_a_run_is_repeated_by_the_command_that_it_names(colours, capsys):
    argv = ["--data", "colours", "--size", "64", "--epochs", "2", "--batch-size", "5", "--label-smoothing", "0.1"]
    assert main(["train", *argv]) == 0
    command = settings_of("runs/colours")[0].partition("alexnet-np ")[2]
    assert main(command.split()) == 0
    first, again = (Path(f"runs/{run}/weights.safetensors").read_bytes() for run in ("colours", "colours-2"))
    assert first == again
    assert settings_of("runs/colours")[1:] == settings_of("runs/colours-2")[1:]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("epoch = 3", "mine.toml: unknown setting epoch, did you mean epochs?"),
        ("warmup = 99", "Recipe: warmup: expected less than epochs (18), got 99"),
        ("epochs = 0", "mine.toml: epochs: expected a whole number of at least 1, got '0'"),
    ],
)
def test_a_wrong_file_is_said_in_a_sentence(colours, capsys, text, sentence):
    Path("mine.toml").write_text(text)
    assert main(["train", "--config", "mine.toml"]) == 2
    assert capsys.readouterr().err == f"alexnet-np train: {sentence}\n"


def test_resume_takes_other_settings_only_of_how_it_runs(colours, capsys, monkeypatch):
    argv = ["--data", "colours", "--size", "64", "--epochs", "2", "--batch-size", "5"]
    with monkeypatch.context() as patch:
        patch.setattr(training.Trainer, "end_epoch", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(["train", *argv, "--checkpoint-minutes", "0"]) == 130
    Path("mine.toml").write_text("lr = 1.0")
    for flags, sentence in (
        (["--lr", "1", "--ema", "0.5"], "leave out --lr, --ema"),
        (["--no-bias-decay"], "leave out --bias-decay"),
        (["--config", "mine.toml"], "leave out --config"),
        (["--out", "elsewhere"], "leave out --out"),
    ):
        capsys.readouterr()
        assert main(["train", "--resume", "runs/colours", *flags]) == 2
        assert sentence in capsys.readouterr().err
    again = ["--epochs", "2", "--checkpoint-minutes", "3", "--figure-minutes", "0"]  # the same, and how it runs
    assert main(["train", "--resume", "runs/colours", *again]) == 0


def test_files_of_the_first_versions_name_a_variant_for_every_model(colours, capsys):
    text = 'data = "colours"\nmodel = "alexnet"\nvariant = "paper"\nsize = 64\nepochs = 1\n'
    Path("old.toml").write_text(text)
    assert main(["train", "--config", "old.toml", "--out", "run"]) == 0
    assert not [line for line in settings_of("run") if line.startswith("variant")]
    assert json.loads(Path("run/run.json").read_text("utf-8"))["variant"] is None
    Path("code.toml").write_text(text.replace("paper", "code"))
    for argv in (["--config", "old.toml", "--variant", "paper"], ["--config", "code.toml"], ["--variant", "paper"]):
        capsys.readouterr()
        assert main(["train", *argv]) == 2
        assert "expected alexnet_2012, which has variants, got alexnet" in capsys.readouterr().err
