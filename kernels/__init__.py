"""The sums, in three books with the same chapters.

``reference`` is the definition, ``cpu`` and ``gpu`` compute the same faster. Each exports pairs of
pure functions: ``y, saved = conv2d_forward(x, w, b, ...)`` and ``dx, dw, db = conv2d_backward(dy, saved)``.
Inputs are never written, except by the functions whose names end in ``_inplace``.
"""
