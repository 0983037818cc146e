"""For tests of parts of one's own: whether a part keeps to its contract, and models that fail in known ways.

    from unforced.testing import check_objective

    def test_mixture():
        check_objective(Mixture(weight=0.3))

A check applies rules and raises ConformanceError with a line for each that is broken. It takes some seconds,
and works with pytest and without.
"""

from unforced.testing.check_models import check_model
from unforced.testing.check_objectives import check_objective
from unforced.testing.check_tasks import check_task
from unforced.testing.rules import ConformanceError

__all__ = ["ConformanceError", "check_model", "check_objective", "check_task"]
