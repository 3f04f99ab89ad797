"""One suite for all books."""

from types import SimpleNamespace

from cases import BOOKS

from alexnet_np import backend


class Book(SimpleNamespace):
    """Kernels under one name, which is what pytest and Hypothesis print."""

    def __repr__(self):
        return self.name


def books_with(chapter):
    """Every book that has its own functions for a chapter of the reference book: an inherited one is tested already."""
    reference = vars(backend.get("reference").kernels)
    names = [name for name, function in reference.items() if function.__module__.endswith(f".reference.{chapter}")]
    assert names, f"kernels/reference: expected a chapter {chapter}.py, as there is a test_{chapter}.py"
    books = {}
    for name, book in BOOKS.items():
        kernels = vars(book)
        books.setdefault(tuple(kernels[key] for key in names), Book(name=name, **kernels))
    return list(books.values())


def pytest_generate_tests(metafunc):
    """Tests of a chapter that ask for a book run for each."""
    parametrized = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "book" in metafunc.fixturenames and not any("book" in names for names in parametrized):
        books = books_with(metafunc.module.__name__.removeprefix("test_"))
        metafunc.parametrize("book", books, ids=repr, scope="session")
