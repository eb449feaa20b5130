"""The loop on FastStream with confluent-kafka: one process per step, one topic between two of them.

python benchmarks/peers/faststream_steps.py BOOTSTRAP ITERATIONS
"""

from __future__ import annotations

import asyncio
import sys
import uuid

import problem
from chain import drive, last_line

STEPS = {"execute": problem.execute, "postprocess": problem.postprocess, "optimize": problem.optimize}


async def serve(step: str, bootstrap: str, prefix: str, iterations: int) -> None:
    from faststream import FastStream
    from faststream.confluent import KafkaBroker

    names = list(STEPS)
    following = names[(names.index(step) + 1) % len(names)]
    broker = KafkaBroker(bootstrap, logger=None)
    app = FastStream(broker, logger=None)
    marks = problem.Marks()

    @broker.subscriber(f"{prefix}.{step}", group_id=f"{prefix}.{step}", auto_offset_reset="earliest")
    async def handle(state: problem.State) -> None:
        state = STEPS[step](state)
        if step == "optimize":
            marks.add(state["seconds"])
            if len(marks.iterations) == iterations + problem.WARM_UP:
                marks.report(["faststream", "confluent-kafka"], state["values"])
                return
        await broker.publish(state, f"{prefix}.{following}")

    @app.after_startup
    async def ready() -> None:
        print("ready", flush=True)

    await app.run()


def begin(bootstrap: str, prefix: str) -> None:
    from faststream.confluent import KafkaBroker

    async def publish() -> None:
        async with KafkaBroker(bootstrap, logger=None) as broker:
            await broker.publish(problem.start(), f"{prefix}.execute")

    asyncio.run(publish())


def main(bootstrap: str, iterations: int) -> None:
    from confluent_kafka.admin import AdminClient, NewTopic

    prefix = f"faststream-{uuid.uuid4().hex[:8]}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for made in admin.create_topics([NewTopic(f"{prefix}.{step}", 1, 1) for step in STEPS]).values():
        made.result()
    commands = [
        [sys.executable, __file__, "--step", step, bootstrap, prefix, str(iterations)] for step in STEPS
    ]
    with drive(commands) as processes:
        begin(bootstrap, prefix)
        print(last_line(processes))


if __name__ == "__main__":
    if sys.argv[1] == "--step":
        asyncio.run(serve(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])))
    else:
        main(sys.argv[1], int(sys.argv[2]))
