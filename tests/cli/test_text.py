from __future__ import annotations

import pytest

from varloop.cli.outcome import print_state
from varloop.cli.text import ago, sparkline, step
from varloop.events import RunCompleted
from varloop.runs import RunState
from varloop.support.numbers import count, duration, fixed, rounded, share, with_error


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (-1.1373060358, 0.0, "-1.137306"),
        (-1.1373060358, 0.00123, "-1.1373 ± 0.0012"),
        (-1.1373060358, 0.0096, "-1.1373 ± 0.0096"),
        (12.3456, 0.5, "12.35 ± 0.50"),
        (1234.5, 25.0, "1234 ± 25"),
        (0.0, 0.0, "0.000000"),
        (1.5e-7, 0.0, "1.5e-07"),
        (2.5e8, 0.0, "2.5e+08"),
        (float("nan"), 0.1, "nan"),
        (1.0, float("nan"), "1.000000"),
        (-3e300, 0.5, "-3e+300 ± 0.5"),
        (0.25, 5e-324, "0.25 ± 4.9e-324"),
    ],
)
def test_a_value_has_the_digits_its_error_leaves(value: float, error: float, text: str) -> None:
    """Two significant digits of the error; six digits if there is none."""
    assert with_error(value, error) == text
    assert rounded(value, error) == text.partition(" ±")[0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0000123, "12 μs"),
        (0.0123, "12.3 ms"),
        (1.234, "1.23 s"),
        (12.34, "12.3 s"),
        (61, "1 min 01 s"),
        (7325, "2 h 02 min"),
    ],
)
def test_a_duration_is_told_in_its_own_unit(seconds: float, text: str) -> None:
    """Microseconds to hours."""
    assert duration(seconds) == text


def test_a_sparkline_goes_from_the_lowest_to_the_highest() -> None:
    """Eight heights; a constant is flat; what is not finite is left out."""
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 20) == "▁▂▃▄▅▆▇█"
    assert sparkline([3.0, 3.0], 20) == "▁▁"
    assert sparkline([], 20) == ""
    assert sparkline([0.0, float("inf"), 1.0], 20) == "▁█"


def test_a_sparkline_fits_its_width_and_ends_with_the_latest() -> None:
    """Of many values some are shown, the last one always."""
    bars = sparkline([0.0] * 999 + [1.0], 40)

    assert (len(bars), bars[-1], bars[-2]) == (40, "█", "▁")


def test_lines_are_about_as_many_as_wanted() -> None:
    """Steps are 1, 2 or 5 times a power of ten, so that no run prints more than 25 lines."""
    assert [step(total) for total in (1, 25, 26, 60, 200, 1000, 10**6)] == [1, 1, 2, 5, 10, 50, 50000]


def test_small_words() -> None:
    """Counts have their plural, shares are in percent, the past is rough."""
    assert (count(1, "job"), count(2000, "job"), count(2, "basis", "bases")) == (
        "1 job",
        "2,000 jobs",
        "2 bases",
    )
    assert share(0.12345) == "12.3 %"
    assert [ago(seconds) for seconds in (-1, 5, 120, 7200, 200000)] == [
        "0 s ago",
        "5 s ago",
        "2 min ago",
        "2 h ago",
        "2 d ago",
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(3.14159265, "3.1416"), (-1e-9, "-0.0000"), (-1e300, "-1e+300"), (1e6, "1e+06")]
)
def test_a_number_is_never_hundreds_of_digits_long(value: float, text: str) -> None:
    """What is large has a power of ten."""
    assert fixed(value, 4) == text


@pytest.mark.parametrize("shots", [0, 1])
def test_only_runs_without_shots_are_called_exact(shots: int, capsys: pytest.CaptureFixture[str]) -> None:
    """An error of 0 says nothing about that: shots may leave no doubt, or a step of one's own may state none."""
    result = RunCompleted(
        value=1.5, error=0.0, parameters=[0.1], iterations=3, shots=shots, reason="iterations"
    )
    print_state(
        RunState(run="r", state="completed", pipeline="mine", submitted=0.0, iterations=3, outcome=result)
    )
    assert ("(exact)" in capsys.readouterr().out) == (shots == 0)
