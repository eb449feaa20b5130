"""Harm that is done while runs are under way. Each says what it did."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial

from chaos.proxy import Fault
from chaos.specs import SPECS
from chaos.stage import STEPS, Stage

Harm = Callable[[Stage], str]
POINTS = ["received", "computed", "recorded", "published"]


# ---------------------------------------------------------------- workers


def nothing(stage: Stage) -> str:
    """A quiet run on workers."""
    stage.four()
    stage.submit()
    return "four workers"


def nothing_fused(stage: Stage) -> str:
    """A quiet run on workers that host all steps."""
    stage.pair()
    stage.submit()
    return "two workers of all steps"


def killed_at_boundaries(step: str) -> Harm:
    """kill −9 of one step's worker at each of its boundaries, one after the other."""
    points = ["received", "computed", "published"] if step == "postprocess" else POINTS
    fuses = [f"{point}:{step}:{0 if step == 'encode' else 3 * k}" for k, point in enumerate(points)]

    def harm(stage: Stage) -> str:
        stage.four({step: fuses})
        stage.submit()
        while stage.fleet[step].fuses_left:
            before = stage.fleet[step].lives
            if step == "encode":
                stage.submit("exact")
            stage.wait(lambda: stage.fleet[step].lives > before, f"death {before} of {step}")  # noqa: B023
        deaths = stage.fleet[step].deaths
        assert deaths == [f"{point}:{step}" for point in points], deaths
        return f"{len(deaths)} deaths: {', '.join(points)}"

    return harm


def killed_at_boundaries_fused(stage: Stage) -> str:
    """kill −9 of a worker of all steps at every boundary of every step."""
    fuses = [
        f"{point}:{step}:{0 if step == 'encode' else k}"
        for k, point in enumerate(POINTS)
        for step in STEPS
        if (step, point) != ("postprocess", "recorded")
    ]
    stage.random.shuffle(fuses)
    worker = stage.worker("all", options=["--instance", "all", "--concurrency", "2"], fuses=fuses)
    stage.submit()
    while worker.fuses_left:
        before = worker.lives
        stage.submit("exact")
        stage.wait(lambda: worker.lives > before, f"death {before}")  # noqa: B023
    assert len(worker.deaths) == len(fuses), worker.deaths
    return f"{len(fuses)} deaths, each boundary of each step"


def killed_at_random(stage: Stage) -> str:
    """kill −9 of a random worker after a random time, again and again."""
    stage.four()
    for _ in range(12):
        if stage.random.random() < 0.4:
            stage.submit(stage.random.choice(sorted(SPECS)))
        stage.pause(stage.random.uniform(0.1, 0.8))
        stage.fleet[stage.random.choice(STEPS)].kill()
    return "12 deaths"


def killed_and_taken_over(stage: Stage) -> str:
    """kill −9 of a worker that nobody starts again: the other one takes over."""
    stage.pair()
    first, *_ = stage.submit()
    stage.until(first, 3)
    stage.fleet["left"].kill()
    del stage.fleet.workers["left"]
    return "one of two workers died for good"


def command_killed(stage: Stage) -> str:
    """kill −9 of ``varloop worker`` itself."""
    worker = stage.command("command")
    first, *_ = stage.submit()
    stage.until(first, 3)
    worker.kill()
    worker.start()
    stage.until(first, 8)
    assert stage.fleet.stop() == {"command": 0}
    return "killed once, stopped once"


def all_killed(stage: Stage) -> str:
    """kill −9 of everybody at once."""
    stage.pair()
    first, *_ = stage.submit()
    for iteration in (2, 6, 10):
        stage.until(first, iteration)
        stage.fleet.kill()
        stage.fleet.tend()
    return "2 workers died together, 3 times"


def stopped_politely(stage: Stage) -> str:
    """SIGTERM in the midst of work, as a deployment does it."""
    stage.four()
    first, *_ = stage.submit()
    for iteration in (2, 6):
        stage.until(first, iteration)
        statuses = stage.fleet.stop()
        assert set(statuses.values()) == {0}, statuses
        stage.fleet.tend()
    return "all stopped and started again, 2 times"


def frozen(stage: Stage) -> str:
    """A worker that stands still for longer than its session, and comes back with what it had in hand."""
    stage.pair()
    first, *_ = stage.submit()
    stage.until(first, 2)
    stage.fleet["left"].signal(signal.SIGSTOP)
    stage.pause(9.0)
    stage.submit("shots")
    stage.fleet["left"].signal(signal.SIGCONT)
    return "one of two workers froze for 9 s"


def jumpy_clocks(stage: Stage) -> str:
    """Every worker's clock jumps by up to a day, back and forth."""
    for number, step in enumerate(STEPS):
        stage.worker(step, step, options=["--jumpy", str(number)])
    stage.submit()
    return "±1 day, every fifth look at the clock"


# ---------------------------------------------------------------- Kafka


def broker_killed(stage: Stage) -> str:
    """kill −9 of the broker in the midst of runs."""
    stage.pair()
    first, *_ = stage.submit()
    for iteration, outage in ((3, 0.0), (9, 3.0)):
        stage.until(first, iteration)
        stage.broker.kill()
        stage.pause(outage)
        stage.broker.start()
    return "2 times, the second for 3 s"


def broker_restarted(stage: Stage) -> str:
    """A clean restart of the broker."""
    stage.four()
    first, *_ = stage.submit()
    stage.until(first, 3)
    stage.broker.stop()
    stage.broker.start()
    return "once"


def broker_killed_in_rebalance(stage: Stage) -> str:
    """kill −9 of the broker while a group takes in one member and misses another."""
    stage.pair()
    first, *_ = stage.submit()
    stage.until(first, 3)
    stage.worker("third")
    stage.fleet["left"].kill()
    stage.pause(0.3)
    stage.broker.kill()
    stage.broker.start()
    stage.fleet.tend()
    return "one worker joined, one died, the broker died"


def duplicates(stage: Stage) -> str:
    """Every record comes again, in another order, while runs are under way and after their end."""
    stage.four()
    first, *_ = stage.submit()
    count = 0
    for iteration in (2, 8):
        stage.until(first, iteration)
        count += stage.republish(stage.records())
    for run in stage.submitted:
        stage.wait(partial(stage.ended, run), f"the end of {run}")
    count += stage.republish(stage.records())
    stage.pause(1.0)
    return f"{count} records again"


def offsets_lost(stage: Stage) -> str:
    """All groups begin again at the beginning of the topic, in the midst of runs and after their end."""
    stage.pair()
    first, *_ = stage.submit()
    stage.until(first, 5)
    for last in (False, True):
        if last:
            for run in stage.submitted:
                stage.wait(partial(stage.ended, run), f"the end of {run}")
        stage.fleet.stop()
        stage.forget_offsets()
        stage.fleet.tend()
        stage.pause(2.0)
    return "2 times"


# ---------------------------------------------------------------- the store


def s3_killed(stage: Stage) -> str:
    """kill −9 of the S3 server in the midst of runs."""
    assert stage.s3 is not None
    stage.pair()
    first, *_ = stage.submit()
    for iteration, outage in ((3, 0.0), (9, 3.0)):
        stage.until(first, iteration)
        stage.s3.kill()
        stage.pause(outage)
        stage.s3.start()
    return "2 times, the second for 3 s"


def through_proxy(fault: Fault, seconds: float, what: str) -> Harm:
    """Something is wrong on the way to the S3 server, for some seconds."""

    def harm(stage: Stage) -> str:
        assert stage.proxy is not None
        stage.pair()
        first, *_ = stage.submit()
        stage.until(first, 3)
        stage.proxy.set(fault)
        stage.pause(seconds / 2)
        stage.proxy.set(Fault())  # in between the application has to get through
        stage.submit("shots")
        stage.proxy.set(fault)
        stage.pause(seconds / 2)
        stage.proxy.set(Fault())
        harmed = f", {stage.proxy.harmed} requests" if stage.proxy.harmed else ""
        return f"{what} for {seconds:g} s{harmed}"

    return harm


def disk_full(stage: Stage) -> str:
    """The disk that holds the store has no space left for a while."""
    assert stage.disk is not None
    stage.pair()
    first, *_ = stage.submit()
    stage.until(first, 3)
    filler = stage.disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError as error:
            reason = error.strerror
    stage.pause(4.0)
    filler.unlink()
    return f"{reason}, for 4 s"


# ---------------------------------------------------------------- everything


def everything(stage: Stage) -> str:
    """Workers, broker and S3 server die, answers get lost, records come twice: all at random, at once."""
    assert stage.proxy is not None
    assert stage.s3 is not None
    stage.four()
    stage.submit()
    stage.proxy.set(Fault(delay=0.005, lose_answers=0.05))
    deaths = {"worker": 0, "broker": 0, "S3 server": 0}
    for kind in stage.random.sample(["worker"] * 8 + ["broker"] * 2 + ["S3 server"] * 2, 12):
        stage.pause(stage.random.uniform(0.1, 0.7))
        if kind == "worker":
            stage.fleet[stage.random.choice(STEPS)].kill()
        else:
            server = stage.broker if kind == "broker" else stage.s3
            server.kill()
            server.start()
        deaths[kind] += 1
    stage.republish(stage.records())
    stage.submit()
    return ", ".join(f"{count} × {kind}" for kind, count in deaths.items()) + ", lost answers, duplicates"
