from __future__ import annotations

import numpy as np
import pytest

from optimizers.landscape import drive, landscape
from optimizers.optimizer_contract import X0, OptimizerContract
from varloop.errors import PermanentError
from varloop.evaluation import Evaluation
from varloop.optimizers import adam


class TestAdam(OptimizerContract):
    name = "adam"


def test_it_is_algorithm_1_of_the_paper() -> None:
    """Fifty steps agree with the paper's pseudocode, written out with arrays, to rounding."""
    optimizer = adam.Adam(adam.Options(learning_rate=0.05, beta1=0.8, beta2=0.95, epsilon=1e-6))
    theta, m, v = np.array(X0), np.zeros(3), np.zeros(3)
    for t, (_, state) in enumerate(drive(optimizer, optimizer.start(X0), 50), 1):
        g = np.array(landscape(theta.tolist())[1])
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        theta = theta - 0.05 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-6)
        np.testing.assert_allclose(optimizer.best(state), theta, rtol=0, atol=1e-12)


def test_the_first_step_is_the_learning_rate_whatever_the_scale() -> None:
    """The first step moves each parameter by the learning rate against the sign of its slope."""
    optimizer = adam.Adam(adam.Options())
    told = optimizer.tell(optimizer.start([0.0, 0.0]), Evaluation([0.0], [0.0], [1e-3, -1e6]))

    assert optimizer.best(told) == pytest.approx([-0.1, 0.1], rel=1e-4)


def test_it_converges_with_its_defaults() -> None:
    """Two hundred default steps find the landscape's minimum to a thousandth."""
    optimizer = adam.Adam(adam.Options())
    *_, (_, last) = drive(optimizer, optimizer.start(X0), 200)

    assert optimizer.best(last) == pytest.approx([0, 1, 2], abs=1e-3)


def test_a_step_out_of_range_names_the_iteration() -> None:
    """A gradient whose square overflows is a permanent error, not an infinite state."""
    optimizer = adam.Adam(adam.Options())
    with pytest.raises(PermanentError, match="iteration 0: the optimizer's step is not finite"):
        optimizer.tell(optimizer.start([0.0]), Evaluation([0.0], [0.0], [1e200]))
