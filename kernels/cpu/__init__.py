"""The cpu book: the reference book's sums, fast on a CPU."""

__all__: list[str] = []
