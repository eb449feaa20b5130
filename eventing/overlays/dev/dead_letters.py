"""Stands in for a KafkaSink: every event that is posted here becomes a record of a Kafka topic, in binary mode."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import TopicAlreadyExistsError

BOOTSTRAP, TOPIC = os.environ["BOOTSTRAP_SERVERS"], os.environ["TOPIC"]


class Sink(BaseHTTPRequestHandler):
    """Writes what is posted."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer when the record is written."""
        value = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = [
            (name.lower().replace("ce-", "ce_", 1), text.encode())
            for name, text in self.headers.items()
            if name.lower().startswith("ce-") or name.lower() == "content-type"
        ]
        key = self.headers.get("ce-partitionkey", "").encode() or None
        producer.send(TOPIC, value=value, key=key, headers=headers).get(timeout=10)
        self._answer(202)

    def do_GET(self) -> None:
        """For probes."""
        self._answer(200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)
try:
    admin.create_topics({TOPIC: {"num_partitions": 1, "replication_factor": 1}})
except TopicAlreadyExistsError:
    pass
finally:
    admin.close()
producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all")
ThreadingHTTPServer(("", 8080), Sink).serve_forever()
