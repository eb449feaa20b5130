from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from optimizers.landscape import drive, landscape, measured
from optimizers.optimizer_contract import OptimizerContract
from varloop.evaluation import Evaluation
from varloop.optimizers import Optimizer, create
from varloop.optimizers.replay import Replay
from varloop.spec import OptimizerSpec

X0 = [0.3, -0.7]
LOWEST = -5.0


class TestCobyla(OptimizerContract):
    name = "cobyla"


class TestLbfgsb(OptimizerContract):
    name = "l-bfgs-b"


class TestPowell(OptimizerContract):
    name = "powell"

    def create(self, seed: int) -> Optimizer:
        """A minimizer of SciPy's that is not among the names."""
        return Replay(lambda fun, x0: minimize(fun, x0, method="Powell"), name="powell")


class Direct:
    """The landscape as SciPy calls it, with what it was asked for."""

    def __init__(self) -> None:
        self.points: list[list[float]] = []

    def fun(self, x: Any) -> float:
        """The value."""
        if x.tolist() not in self.points:
            self.points.append(x.tolist())
        return landscape(x.tolist())[0]

    def jac(self, x: Any) -> Any:
        """The gradient."""
        return np.array(landscape(x.tolist())[1])


def replayed(name: str, options: dict[str, Any]) -> tuple[list[list[float]], list[float]]:
    """Every point asked for until the end, and the point recommended then."""
    optimizer = create(OptimizerSpec(name=name, options=options), 0)
    steps = list(drive(optimizer, optimizer.start(X0), 1000))
    assert optimizer.ask(steps[-1][1]) is None
    return [ask.points[0] for ask, _ in steps], optimizer.best(steps[-1][1])


@pytest.mark.parametrize(
    ("given", "tol", "options"),
    [({}, None, {}), ({"first_step": 0.3, "tolerance": 1e-2}, 1e-2, {"rhobeg": 0.3})],
    ids=["defaults", "options"],
)
def test_cobyla_is_scipys_bit_for_bit(
    given: dict[str, Any], tol: float | None, options: dict[str, Any]
) -> None:
    """Every point and the result, which is the minimum, equal those of a direct call of SciPy's COBYLA."""
    direct = Direct()
    result = minimize(direct.fun, X0, method="COBYLA", tol=tol, options=options)

    assert replayed("cobyla", given) == (direct.points, result.x.tolist())
    assert landscape(result.x.tolist())[0] == pytest.approx(LOWEST, abs=1e-2)


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({}, {}),
        (
            {"memory": 2, "gradient_tolerance": 1e-2, "value_tolerance": 0},
            {"maxcor": 2, "gtol": 1e-2, "ftol": 0},
        ),
        ({"gradient_tolerance": 0, "value_tolerance": 1e-4}, {"gtol": 0, "ftol": 1e-4}),
    ],
    ids=["defaults", "gradient", "value"],
)
def test_l_bfgs_b_is_scipys_bit_for_bit(given: dict[str, Any], options: dict[str, Any]) -> None:
    """Every point and the result, which is the minimum, equal those of a direct call of SciPy's L-BFGS-B."""
    direct = Direct()
    result = minimize(direct.fun, X0, jac=direct.jac, method="L-BFGS-B", options=options)

    assert replayed("l-bfgs-b", given) == (direct.points, result.x.tolist())
    assert landscape(result.x.tolist())[0] == pytest.approx(LOWEST, abs=1e-3)


@pytest.mark.parametrize(("name", "limits"), [("cobyla", {"maxiter"}), ("l-bfgs-b", {"maxiter", "maxfun"})])
def test_only_the_runs_budget_limits_them(
    name: str, limits: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SciPy is told not to stop by itself after its usual number of evaluations."""
    called: dict[str, Any] = {}

    def spy(fun: object, x0: Any, **given: Any) -> Any:
        called.update(given["options"])
        return x0

    monkeypatch.setattr("scipy.optimize.minimize", spy)
    create(OptimizerSpec(name=name), 0).start(X0)

    assert {limit for limit, value in called.items() if value == 10**9} == limits


def test_noise_does_not_upset_the_replay() -> None:
    """Replays record what was measured, so noisy values replay as well as exact ones."""
    noise = np.random.default_rng(3)
    for name in ("cobyla", "l-bfgs-b"):
        optimizer = create(OptimizerSpec(name=name), 0)
        state = optimizer.start(X0)
        for _ in range(15):
            ask = optimizer.ask(state)
            if ask is None:
                break
            exact = measured(ask)
            told = Evaluation([exact.values[0] + 0.1 * noise.standard_normal()], [0.1], exact.gradient)
            state = optimizer.tell(state, told)
        assert state["iteration"] > 4
