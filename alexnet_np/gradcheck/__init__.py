"""Gradient checks, for this package's layers and for anybody's: is backward the derivative of forward?

    from alexnet_np import gradcheck
    gradcheck.check(layer, (x,))                    # raises GradientError, with the worst entry and the likely mistake
    gradcheck.check_function(forward, backward, (x, w, b))
    print(gradcheck.report())                       # every op of this package

checks.py compares, slopes.py evaluates, problem.py says what is checked, attributes.py finds the arrays of somebody's
object, network.py compares a layer in a network with the layer alone, diagnosis.py names mistakes, ops.py lists this
package's ops.
"""

from .checks import check as check, check_function as check_function
from .ops import kink_free as kink_free, report as report
from .results import GradientError as GradientError, Result as Result, Row as Row, UnlistedArrays as UnlistedArrays
