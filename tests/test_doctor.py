"""What doctor finds, and what it says to do."""

import json
from importlib.metadata import PackageNotFoundError

import pytest

from alexnet_np import __version__, backend, doctor
from alexnet_np.cli import main
from alexnet_np.doctor import Finding

VARIABLES = ("OPENBLAS_CORETYPE", "NUMBA_DISABLE_JIT", "ALEXNET_NP_NUM_THREADS")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def finding(subject):
    (found,) = [finding for finding in doctor.examine() if finding.subject == subject]
    return found


def test_it_reports_what_is_installed(capsys):
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for subject in ("Python", "NumPy", "BLAS", "cores", "memory", "numba", "compiled code", "safetensors", "GPU"):
        assert subject in out
    assert __version__ in out


def test_json_has_every_finding(capsys):
    assert main(["doctor", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["subject"] for row in rows} >= {"Python", "BLAS"}
    assert {row["level"] for row in rows} <= {"ok", "note", "problem"}


def test_a_forced_blas_kernel_is_noted(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    blas = finding("BLAS")
    assert (blas.level, "OPENBLAS_CORETYPE" in blas.remedy) == ("note", True)


def test_too_few_blas_threads_are_noted(monkeypatch):
    monkeypatch.setattr(doctor, "usable_cores", lambda: 10_000)
    assert "OPENBLAS_NUM_THREADS" in finding("BLAS").remedy


def test_fewer_threads_than_cores_are_noted(monkeypatch):
    monkeypatch.setenv("ALEXNET_NP_NUM_THREADS", str(doctor.usable_cores()))
    assert finding("cores").level == "ok"
    monkeypatch.setenv("ALEXNET_NP_NUM_THREADS", "1000")
    assert finding("cores").level == "note"


def test_numba_that_does_not_compile_is_a_problem(monkeypatch, capsys):
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert finding("numba").level == "problem"
    assert main(["doctor"]) == 1
    assert "unset NUMBA_DISABLE_JIT" in capsys.readouterr().out


def test_no_folder_for_compiled_code_is_noted(monkeypatch):
    monkeypatch.setattr(backend, "compiled_code_folder", lambda: None)
    assert "NUMBA_CACHE_DIR" in finding("compiled code").remedy


@pytest.mark.parametrize(("name", "level"), [("safetensors", "problem"), ("matplotlib", "note")])
def test_a_missing_library_is_told_with_the_command_that_installs_it(monkeypatch, name, level):
    version = doctor.version

    def without(wanted):
        if wanted == name:
            raise PackageNotFoundError(name)
        return version(wanted)

    monkeypatch.setattr(doctor, "version", without)
    assert (finding(name).level, "pip install" in finding(name).remedy) == (level, True)


def test_a_folder_that_is_not_installed_is_a_problem(monkeypatch):
    find_spec = doctor.find_spec
    monkeypatch.setattr(doctor, "find_spec", lambda name: None if name.endswith("kernels") else find_spec(name))
    assert (finding("alexnet-np").level, "pip install -e" in finding("alexnet-np").remedy) == ("problem", True)


def test_a_gpu_that_is_not_there_is_noted(monkeypatch):
    monkeypatch.setattr(backend, "gpu_problem", lambda: "device gpu: CuPy finds no CUDA device")
    assert finding("GPU") == Finding("note", "GPU", "CuPy finds no CUDA device")


@pytest.mark.parametrize(
    ("levels", "verdict"),
    [
        (["ok", "ok"], "All is well: 0 problems, 0 notes."),
        (["ok", "note"], "It works, and could be better: 0 problems, 1 note."),
        (["problem", "note"], "Something is wrong: 1 problem, 1 note."),
    ],
)
def test_the_report_ends_with_a_verdict(levels, verdict):
    findings = [Finding(level, "subject", "text", "remedy" if level != "ok" else "") for level in levels]
    assert doctor.report(findings).splitlines()[-1] == verdict
    assert doctor.report(findings).count("-> remedy") == len([level for level in levels if level != "ok"])
