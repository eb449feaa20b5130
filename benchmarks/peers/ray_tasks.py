"""The loop on Ray: three tasks chained by their futures, or one task per iteration.

python benchmarks/peers/ray_tasks.py chained|single ITERATIONS
"""

from __future__ import annotations

import logging
import os
import sys

import problem

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["PYTHONPATH"] = os.path.dirname(os.path.abspath(__file__))

import ray


def whole(state: problem.State) -> problem.State:
    return problem.optimize(problem.postprocess(problem.execute(state)))


def main(way: str, iterations: int) -> None:
    ray.init(num_cpus=4, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    execute, postprocess, optimize, single = map(
        ray.remote, (problem.execute, problem.postprocess, problem.optimize, whole)
    )
    state, marks = problem.start(), problem.Marks()
    for _ in range(iterations + problem.WARM_UP + 1):
        if way == "single":
            state = ray.get(single.remote(state))
        else:
            state = ray.get(optimize.remote(postprocess.remote(execute.remote(state))))
        marks.add(state["seconds"])
    marks.report(["ray"], state["values"])
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
