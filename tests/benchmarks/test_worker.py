"""The processes: what they inherit, what they answer, how they fail."""

from time import perf_counter

import pytest

from benchmarks.contenders import BY_NAME
from benchmarks.worker import ContenderError, Worker, environment


def test_tuning_is_not_inherited():
    shell = {
        "OPENBLAS_CORETYPE": "Haswell",
        "OMP_NUM_THREADS": "7",
        "MKL_DEBUG_CPU_TYPE": "5",
        "NUMBA_NUM_THREADS": "3",
    }
    kept = {"PATH": "/bin", "HOME": "/home/somebody"}
    assert environment(2, shell | kept) == {**kept, "ALEXNET_NP_NUM_THREADS": "2", "NPROC": "2"}


def test_a_failure_is_a_sentence_and_the_process_lives_on():
    with Worker(BY_NAME["numpy"], 1) as worker:
        with pytest.raises(ContenderError, match=r"^KeyError: 'conv9'$"):
            worker.call("build_layer", "conv9", 1)
        assert worker.call("memory")["peak_mib"] > 1
        assert worker.info["rss_mib"] > 1


def test_a_process_that_dies_says_how():
    with Worker(BY_NAME["numpy"], 1) as worker:
        worker.process.kill()
        worker.process.wait()
        with pytest.raises(ContenderError, match=r"^its process ended with exit code -?\d+: "):
            worker.call("memory")


def test_an_answer_is_not_waited_for_beyond_the_deadline():
    with Worker(BY_NAME["numpy"], 1) as worker:
        worker.deadline = perf_counter()
        with pytest.raises(ContenderError, match=r"^no answer in 0 s$"):
            worker.call("sgemm", 64, 600.0)
