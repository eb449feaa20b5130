"""The floor: three processes that pass records on, with nothing in between, by one of Kafka's clients.

python benchmarks/peers/raw_clients.py kafka-python|confluent-kafka|aiokafka BOOTSTRAP ITERATIONS

One topic of 12 partitions, one group per process, records of 1 KiB with headers like an event's, acks=all,
idempotent producers without linger: as varloop's own bus, without journal, codec or functions.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress

import problem
from chain import drive, last_line

STEPS = ("execute", "postprocess", "optimize")
FORMAT = "ce_type"
VALUE = b"x" * 1024
REST = [(f"ce_attribute{number}", b"0123456789abcdef0123456789abcdef") for number in range(9)]

Headers = list[tuple[str, bytes]]
Handle = Callable[[Headers], Headers | None]
"""the headers to send for a record, or None to send nothing"""


def passing(step: str, iterations: int, client: str) -> Handle:
    """What the process of a step does with a record."""
    following = STEPS[(STEPS.index(step) + 1) % len(STEPS)]
    marks = problem.Marks()

    def handle(headers: Headers) -> Headers | None:
        if dict(headers)[FORMAT] != step.encode():
            return None
        if step == STEPS[-1]:
            marks.add(0.0)
            if len(marks.iterations) == iterations + problem.WARM_UP:
                marks.report([client], [])
                return None
        return [(FORMAT, following.encode()), *REST]

    return handle


def by_kafka_python(bootstrap: str, topic: str, group: str, handle: Handle) -> None:
    from kafka import KafkaConsumer, KafkaProducer

    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=0)
    consumer = KafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest", max_poll_records=200
    )
    while not consumer.assignment():
        consumer.poll(100)
    producer.partitions_for(topic)
    print("ready", flush=True)
    while True:
        for records in consumer.poll(1000).values():
            for record in records:
                if headers := handle(record.headers):
                    producer.send(topic, record.value, record.key, headers)


def by_confluent_kafka(bootstrap: str, topic: str, group: str, handle: Handle) -> None:
    from confluent_kafka import Consumer, Producer

    producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 0})
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    while not consumer.assignment():
        consumer.poll(0.1)
    producer.list_topics(topic, 10)
    print("ready", flush=True)
    while True:
        record = consumer.poll(1.0)
        if record is not None and not record.error() and (headers := handle(record.headers())):
            producer.produce(topic, record.value(), record.key(), headers=headers)
            producer.poll(0)


async def by_aiokafka(bootstrap: str, topic: str, group: str, handle: Handle) -> None:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=0)
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=group, auto_offset_reset="earliest"
    )
    await producer.start()
    await consumer.start()
    while not consumer.assignment():
        await asyncio.sleep(0.1)
    print("ready", flush=True)
    async for record in consumer:
        if headers := handle(list(record.headers)):
            await producer.send(topic, record.value, record.key, headers=headers)


def serve(client: str, bootstrap: str, topic: str, step: str, iterations: int) -> None:
    handle = passing(step, iterations, client)
    arguments = bootstrap, topic, f"{topic}.{step}", handle
    if client == "kafka-python":
        by_kafka_python(*arguments)
    elif client == "confluent-kafka":
        by_confluent_kafka(*arguments)
    else:
        asyncio.run(by_aiokafka(*arguments))


def main(client: str, bootstrap: str, iterations: int) -> None:
    from kafka import KafkaProducer
    from kafka.admin import KafkaAdminClient, NewTopic

    topic = f"floor-{uuid.uuid4().hex[:8]}"
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(topic, 12, 1)])
    command = [sys.executable, __file__, client, bootstrap, str(iterations), topic]
    with drive([[*command, step] for step in STEPS]) as processes:
        producer = KafkaProducer(bootstrap_servers=bootstrap)
        producer.send(topic, VALUE, b"run", [(FORMAT, STEPS[0].encode()), *REST])
        producer.flush()
        print(last_line(processes))
        producer.close()
    admin.delete_topics([topic])
    admin.close()


if __name__ == "__main__":
    if len(sys.argv) > 4:
        with suppress(KeyboardInterrupt):
            serve(sys.argv[1], sys.argv[2], sys.argv[4], sys.argv[5], int(sys.argv[3]))
    else:
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
