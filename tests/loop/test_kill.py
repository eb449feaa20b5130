from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loop.cases import a_spec
from loop.zygote import Death, Life, Place, Zygote

RUNS: dict[str, dict[str, Any]] = {
    "spsa, 64 shots": a_spec("spsa", shots=64, iterations=2),
    "cobyla": a_spec("cobyla", iterations=3),
    "l-bfgs-b": a_spec("l-bfgs-b", iterations=3),
}


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    """Where processes come from."""
    with Zygote() as started:
        yield started


def killed(zygote: Zygote, store: Path, spec: dict[str, Any], number: int, place: Place) -> None:
    """A process submits the run and is killed at a place."""
    death = zygote.live(Life(store=str(store), spec=spec, kill=number, place=place))
    assert death.signal == signal.SIGKILL, f"{place} {number} was never reached"


@pytest.mark.parametrize("name", RUNS)
def test_killed_at_any_boundary(zygote: Zygote, tmp_path: Path, name: str) -> None:
    """A run whose process is killed (-9) at whichever boundary is resumed by another, bit for bit."""
    spec = RUNS[name]
    straight = zygote.live(Life(store=str(tmp_path / "straight"), spec=spec))
    assert straight.places["boundary"] >= 30

    for number in range(straight.places["boundary"]):
        store = tmp_path / str(number)
        killed(zygote, store, spec, number, "boundary")
        assert zygote.live(Life(store=str(store))).end == straight.end, number
        shutil.rmtree(store)


@pytest.mark.parametrize("place", ["before create", "after create"])
def test_killed_at_any_write(zygote: Zygote, tmp_path: Path, place: Place) -> None:
    """A run whose process is killed before or after whichever write is resumed as well, bit for bit."""
    spec = RUNS["spsa, 64 shots"]
    straight = zygote.live(Life(store=str(tmp_path / "straight"), spec=spec))

    for number in range(straight.places[place]):
        store = tmp_path / str(number)
        killed(zygote, store, spec, number, place)
        unborn = place == "before create" and number == 0  # then the application submits it again
        again = zygote.live(Life(store=str(store), spec=spec if unborn else None))
        assert again.end == straight.end, number


def test_killed_again_and_again(zygote: Zygote, tmp_path: Path) -> None:
    """However often it is killed, a run that gets a little further each time comes to the same end."""
    spec = a_spec("cobyla", iterations=10)
    straight = zygote.live(Life(store=str(tmp_path / "straight"), spec=spec))
    draw = random.Random(5)
    store = str(tmp_path / "killed")
    deaths = [zygote.live(Life(store=store, spec=spec, kill=4))]
    while deaths[-1].signal and len(deaths) < 60:
        deaths.append(zygote.live(Life(store=store, kill=draw.randint(10, 20))))

    assert deaths[-1] == Death(signal=0, places=deaths[-1].places, end=straight.end)
    assert len(deaths) > 5
