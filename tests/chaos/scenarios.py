"""Scenarios as data: what harm is done, and on what store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chaos import harms
from chaos.proxy import Fault
from chaos.stage import STEPS

__all__ = ["SCENARIOS", "Scenario"]


@dataclass(frozen=True)
class Scenario:
    """One way in which the world breaks."""

    name: str
    harm: harms.Harm
    store: Literal["minio", "versitygw", "full"] = "versitygw"
    seed: int = 1


SCENARIOS = (
    Scenario("quiet", harms.nothing),
    Scenario("quiet, fused", harms.nothing_fused, "minio"),
    *(Scenario(f"{step} killed at each boundary", harms.killed_at_boundaries(step)) for step in STEPS),
    Scenario("fused worker killed at each boundary", harms.killed_at_boundaries_fused, seed=2),
    Scenario("workers killed at random", harms.killed_at_random, seed=3),
    Scenario("worker killed for good", harms.killed_and_taken_over),
    Scenario("all workers killed at once", harms.all_killed, "minio"),
    Scenario("varloop worker killed", harms.command_killed),
    Scenario("workers stopped", harms.stopped_politely),
    Scenario("worker frozen", harms.frozen),
    Scenario("clocks jump", harms.jumpy_clocks),
    Scenario("broker killed", harms.broker_killed),
    Scenario("broker restarted", harms.broker_restarted),
    Scenario("broker killed in a rebalance", harms.broker_killed_in_rebalance),
    Scenario("duplicates, reordered", harms.duplicates),
    Scenario("offsets lost", harms.offsets_lost),
    Scenario("S3 server killed (Versity)", harms.s3_killed),
    Scenario("S3 server killed (MinIO)", harms.s3_killed, "minio"),
    Scenario("S3 slow", harms.through_proxy(Fault(delay=0.05), 6, "50 ms more on average")),
    Scenario("S3 away", harms.through_proxy(Fault(refuse=True), 4, "connections refused")),
    Scenario("S3 away for long", harms.through_proxy(Fault(refuse=True), 24, "connections refused")),
    Scenario(
        "S3 refuses writes", harms.through_proxy(Fault(deny_writes=True), 6, "503 to every write"), "minio"
    ),
    Scenario(
        "S3 answers lost", harms.through_proxy(Fault(lose_answers=0.2), 6, "every fifth answer to a write")
    ),
    Scenario("disk full", harms.disk_full, "full"),
    Scenario("everything at once", harms.everything, seed=4),
)
