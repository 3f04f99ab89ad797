"""Work that threads do ahead of who asks for its results."""

import threading
from itertools import count

import pytest

from alexnet_np.data.parallel import AHEAD, in_order


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("number", [0, 1, 100])
def test_results_come_in_the_order_of_the_items(number, workers):
    assert list(in_order(lambda n: n * n, range(number), workers)) == [n * n for n in range(number)]


def test_a_few_items_are_taken_ahead_and_no_more():
    taken = []

    def items():
        for n in count():
            taken.append(n)
            yield n

    results = in_order(str, items(), 2)
    for n in range(5):
        assert next(results) == str(n)
        assert len(taken) <= n + 1 + 2 * AHEAD
    results.close()


def test_an_error_reaches_the_user_and_ends_the_threads():
    before = threading.active_count()
    results = in_order(lambda n: 1 // (3 - n), range(50), 2)
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert threading.active_count() == before
