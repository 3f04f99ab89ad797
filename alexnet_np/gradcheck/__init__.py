"""Gradient checks, for this package's layers and for anybody's: is backward the derivative of forward?

    from alexnet_np import gradcheck
    gradcheck.check(layer, (x,))                    # raises GradientError, with the worst entry and the likely mistake
    gradcheck.check_function(forward, backward, (x, w, b))
    print(gradcheck.report())                       # every op of this package

checks.py runs the comparisons, claim.py makes one, slopes.py evaluates, rounding.py and analytic.py say which slopes
can be trusted, diagnosis.py names mistakes. problem.py is what is checked, attributes.py finds the arrays of somebody's
object, form.py refuses what has the wrong form, kinks.py draws inputs without ties. network.py compares a layer in a
network with the layer alone. ops.py lists this package's ops, float32.py compares a device's kernels with the
reference.
"""

from .checks import check as check, check_function as check_function
from .kinks import kink_free as kink_free
from .ops import report as report
from .results import GradientError as GradientError, Result as Result, Row as Row, UnlistedArrays as UnlistedArrays
