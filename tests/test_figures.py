"""The figures of a run, whatever classes are called and however drawing fails."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from pictures import COLOURS, colour, small_network
from PIL import Image

from alexnet_np import artist, drawing, figures
from alexnet_np.artist import Artist, Job
from alexnet_np.data import Arrays, Loader, Preparation
from alexnet_np.drawing import FONT, Letters, shorten
from alexnet_np.metrics import Evaluation
from alexnet_np.training import Epoch

HISTORY = [Epoch(i + 1, 0.01, 2 / (i + 1), 0.2 * i, 2.5 / (i + 1), 0.15 * i, 1.0, 100.0, 0.0, 1.0) for i in range(5)]
KERNELS = np.random.default_rng(0).standard_normal((8, 11, 11, 3))


@pytest.fixture
def shown():
    rng = np.random.default_rng(0)
    images = np.stack([colour(name, rng, 64, 64) for name in COLOURS])
    return images, list(COLOURS), ["blue", "red", "red"]


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_it_is_a_picture_with_the_test_images_and_the_mistakes_in_it(tmp_path, shown):
    images, labels, predicted = shown
    figures.training_figure(tmp_path / "figure.png", "A run", HISTORY[:1], KERNELS, images, labels, predicted)
    figures.training_figure(tmp_path / "right.png", "A run", HISTORY, KERNELS, images, labels, labels)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figure.png", "right.png"]
    one, other = pixels(tmp_path / "figure.png"), pixels(tmp_path / "right.png")
    assert one.shape[1] > 1200
    for red, green, blue in COLOURS.values():  # an image covers some thousand pixels
        near = np.abs(one - [red, green, blue]).max(axis=2) < 60
        assert near.sum() > 3000
    mistake = tuple(int(figures.RED[i : i + 2], 16) for i in (1, 3, 5))
    assert (one == mistake).all(axis=2).sum() > 20
    assert (other == mistake).all(axis=2).sum() == 0


def test_filters_are_grey_where_the_pictures_are(tmp_path, shown):
    images = shown[0][..., :1].repeat(3, axis=3)
    for name, pictures in (("grey", images), ("colour", shown[0])):
        kernels = figures.first_kernels(small_network(), pictures)
        figures.training_figure(tmp_path / name, "A run", HISTORY, kernels, pictures, *shown[1:])
    # Where the filters are: the right third of the upper half.
    spread = {name: np.ptp(pixels(tmp_path / name)[100:400, 1150:], axis=2).max() for name in ("grey", "colour")}
    assert spread["grey"] < 40 < spread["colour"]


def test_what_fails_leaves_no_file(tmp_path, shown, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        figures.training_figure(tmp_path / "figure.png", "A run", HISTORY, KERNELS, *shown)
    assert list(tmp_path.iterdir()) == []


def test_a_sample_ends_with_the_mistakes():
    rng = np.random.default_rng(0)
    images = np.stack([colour(list(COLOURS)[i % 3], rng, 64, 64) for i in range(40)])
    net = small_network()
    net.state_dict()["classifier.4.weight"][...] = 0
    net.state_dict()["classifier.4.bias"][...] = [0, 1, 0]  # green, always
    loader = Loader(Arrays(images, np.arange(40) % 3, list(COLOURS)), Preparation.figures(64), 16)
    shown, labels, predicted = figures.sample(net, loader)
    # 13 of 40 are green, and no more than a row of mistakes is shown.
    assert shown.shape == (13 + 8, 64, 64, 3)
    assert labels[:13] == ["green"] * 13
    assert "green" not in labels[13:]
    assert set(predicted) == {"green"}
    strongest = {"blue": 2, "green": 1, "red": 0}
    assert [image.mean(axis=(0, 1)).argmax() for image in shown] == [strongest[label] for label in labels]


# ---- confusion


def confused(K, seed=0):
    rng = np.random.default_rng(seed)
    confusion = np.diag(rng.integers(5, 50, K)) + rng.poisson(30 / K, (K, K))
    return Evaluation(int(confusion.sum()), 1.0, 0.5, 0.9, confusion)


def test_few_classes_are_named_with_their_counts_and_many_are_shaded(tmp_path):
    for K in (3, 12, 200):
        names = [f"class {k}, with a long name" for k in range(K)]
        figures.confusion_figure(tmp_path / f"{K}.png", "A run", names, confused(K))
    mistake = tuple(int(figures.RED[i : i + 2], 16) for i in (1, 3, 5))
    counted = [(pixels(tmp_path / f"{K}.png") == mistake).all(axis=2).sum() for K in (3, 12, 200)]
    assert counted[0] > 5
    assert counted[1] > 50
    assert counted[2] == 0


def test_no_mistakes_and_classes_without_pictures_are_no_trouble(tmp_path):
    figures.confusion_figure(
        tmp_path / "a.png", "A run", ["a", "b", "a"], Evaluation(5, 0.1, 1.0, 1.0, np.diag([5, 0, 0]))
    )
    assert pixels(tmp_path / "a.png").shape[1] > 1200


# ---- names


ODD = ["$1", r"$\frac", "\u732b", "\U0001f98a fox", "caf\udce9", "a\nb", r"\alpha_{x}^2", "%s {0}", ""]


def test_names_are_drawn_as_text_without_a_warning(tmp_path, recwarn, capfd):
    images = np.zeros((len(ODD), 64, 64, 3), np.uint8)
    figures.training_figure(tmp_path / "a.png", "Run $x_ \u732b", HISTORY, KERNELS, images, ODD, ODD[::-1])
    figures.confusion_figure(tmp_path / "b.png", r"Run $\frac", ODD, confused(len(ODD)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


def test_a_dollar_is_a_dollar(tmp_path):
    """As mathematics "$1$" would be drawn without the dollars, and look like "1"."""
    for name, text in (("with", "$1$"), ("without", "1")):
        figures.confusion_figure(tmp_path / name, text, ["a", "b"], Evaluation(5, 0.1, 1.0, 1.0, np.diag([5, 0])))
    headings = [pixels(tmp_path / name)[:30, :200].sum(axis=2) < 300 for name in ("with", "without")]
    widths = [np.ptp(np.flatnonzero(heading.any(axis=0))) for heading in headings]
    assert widths[0] > 2 * widths[1]


def test_letters_come_from_other_fonts_or_are_drawn_as_codes():
    from matplotlib.font_manager import findfont
    from matplotlib.ft2font import FT2Font

    own, other = (FT2Font(findfont(name)).get_charmap() for name in (FONT, "STIXGeneral"))
    code = min(code for code in other.keys() - own.keys() if code > 0x100 and chr(code).isprintable())
    unknown = "\U0003fffd"
    letters = Letters(["plain", chr(code)])
    assert letters.fonts[0] == FONT
    assert len(letters.fonts) == 2
    assert letters.text(f"a{chr(code)}") == f"a{chr(code)}"
    assert Letters(["plain"]).fonts == [FONT]
    odd = f"a\n\udce9\u00a0\u200de\u0301{unknown}"
    assert Letters([odd]).text(odd) == "a\\n\\udce9 \u00e9\\U0003fffd"


def test_a_font_without_bold_letters_is_no_reason_to_print(tmp_path, caplog, capfd):
    letters = Letters(["A run"])
    letters.fonts = [FONT, "cmsy10"]
    with drawing.figure(tmp_path / "a.png", "A run", (3, 2), letters) as drawn:
        drawn.text(0.5, 0.5, "a", fontweight="bold")
    assert not [record for record in caplog.records if record.levelname != "DEBUG"]
    assert capfd.readouterr() == ("", "")


def test_wide_letters_take_two_places():
    assert shorten("n" * 18) == "n" * 18
    assert shorten("n" * 19) == "n" * 15 + "..."
    assert shorten("\u732b" * 9) == "\u732b" * 9
    assert shorten("\u732b" * 10) == "\u732b" * 7 + "..."


@pytest.mark.parametrize("backend", ["no-such-backend", "module://matplotlib_inline.backend_inline", "tkagg"])
def test_a_backend_of_a_notebook_and_a_damaged_settings_file_do_not_matter(tmp_path, backend):
    code = f"""if True:
        import numpy as np
        from alexnet_np import figures
        from alexnet_np.metrics import Evaluation
        figures.confusion_figure({str(tmp_path / "a.png")!r}, "A run", ["a", "b"], Evaluation(2, 1, 1, 1, np.eye(2)))
        import os, sys
        print(os.environ["MPLBACKEND"], "matplotlib.pyplot" in sys.modules)
    """
    (tmp_path / "matplotlibrc").write_text("no.such.key: 3\n")
    environment = os.environ | {"MPLBACKEND": backend, "MATPLOTLIBRC": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=100, check=True
    )
    assert (done.stdout, done.stderr) == (f"{backend} False\n", "")
    assert pixels(tmp_path / "a.png").shape[1] > 1200


def test_settings_of_the_user_do_not_matter(tmp_path):
    from matplotlib import rc_context

    with rc_context({"text.usetex": True, "font.family": ["no such font"], "figure.dpi": 7}):
        figures.confusion_figure(tmp_path / "a.png", "$1", ["a", "b"], confused(2))
    figures.confusion_figure(tmp_path / "b.png", "$1", ["a", "b"], confused(2))
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))


# ---- beside the training


def jobs_of(shown, *paths):
    return [Job(figures.training_figure, path, ("A run", HISTORY, KERNELS, *shown)) for path in paths]


def test_an_artist_draws_in_a_process_of_its_own(tmp_path, shown, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "no-such-backend")
    told = []
    painter = Artist(told.append)
    assert painter.is_free()
    painter.draw(jobs_of(shown, tmp_path / "nowhere" / "a.png", tmp_path / "figure.png"))
    assert not painter.is_free()
    painter.wait()
    assert painter.is_free()
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]
    artist.draw(jobs_of(shown, tmp_path / "same.png"), told.append)
    np.testing.assert_array_equal(pixels(tmp_path / "figure.png"), pixels(tmp_path / "same.png"))
    [warning] = told  # and the other was drawn nevertheless
    assert warning.startswith("Warning: a.png is missing (")


def burst(path):
    raise KeyError("whatever matplotlib may raise")


def test_any_failure_is_a_warning(tmp_path, shown):
    told = []
    (tmp_path / "old.png").write_text("old")
    jobs = [Job(burst, tmp_path / name, ()) for name in ("new.png", "old.png")]
    artist.draw([*jobs, *jobs_of(shown, tmp_path / "b.png")], told.append)
    assert told == [
        "Warning: new.png is missing ('whatever matplotlib may raise')",
        "Warning: old.png is that of before, and no newer one could be drawn ('whatever matplotlib may raise')",
    ]
    assert (tmp_path / "b.png").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_an_artist_that_is_killed_is_told_of_and_leaves_nothing(tmp_path, shown, monkeypatch):
    told = []
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    painter = Artist(told.append)
    painter.draw(jobs_of(shown, tmp_path / "a.png", tmp_path / "b.png"))
    painter._drawing.process.send_signal(signal.SIGKILL)
    painter.wait()
    ended = "(the process that draws was ended by signal 9)"
    assert told == [f"Warning: {name} is missing {ended}" for name in ("a.png", "b.png")]
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]


@pytest.mark.parametrize("call", ["subprocess.Popen", "tempfile.TemporaryFile", "pickle.dump"])
def test_an_artist_that_cannot_begin_is_told_of(tmp_path, shown, monkeypatch, call):
    def fail(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(f"alexnet_np.artist.{call}", fail)
    told = []
    painter = Artist(told.append)
    painter.draw(jobs_of(shown, tmp_path / "a.png"))
    assert told == ["Warning: a.png is missing (MemoryError)"]
    assert painter.is_free()
