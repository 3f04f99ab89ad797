"""This project and its peers, side by side in one run: python -m benchmarks.

Reading order: problem.py (the work), contenders/ (one framework a file), worker.py (a process for each
contender), correctness.py (what must hold before anything is timed), measure.py (turns and statistics),
then report.py, plots.py and compare.py, which only read a result. gpu.py says what differs on a GPU.
"""
