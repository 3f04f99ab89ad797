"""The gpu book. It has no chapters yet: every sum is the reference book's, which runs on CuPy arrays as it stands.

Nothing of it has run on a GPU so far.
"""

__all__: list[str] = []
