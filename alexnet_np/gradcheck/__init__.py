"""Gradient checks, for this package's layers and for anybody's: is backward the derivative of forward?

    from alexnet_np import gradcheck
    gradcheck.check(layer, (x,))                    # raises GradientError, with the worst entry and the likely mistake
    gradcheck.check_function(forward, backward, (x, w, b))
    print(gradcheck.report())                       # every op of this package

What is checked is a problem (problem.py): layer.py for a layer, whose arrays attributes.py finds by their names, and
function.py for a pair of functions. form.py refuses what has the wrong form.

passes.py runs forward and backward once, and refuses what no check allows. claim.py compares the gradients with slopes,
which slopes.py takes; rounding.py and analytic.py say which slopes can be trusted. checks.py runs the comparisons,
diagnosis.py names the likely mistake, results.py holds what was found.

network.py compares a layer in a network with the layer alone. ops.py lists this package's ops, float32.py compares a
device's kernels with the reference. kinks.py draws inputs without ties.
"""

from .checks import check as check, check_function as check_function
from .kinks import kink_free as kink_free
from .ops import report as report
from .results import GradientError as GradientError, Result as Result, Row as Row, UnlistedArrays as UnlistedArrays
