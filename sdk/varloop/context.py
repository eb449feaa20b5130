"""What a function is given besides its event: everything it may touch, and nothing else."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from varloop.errors import ConflictError, UnknownRun
from varloop.events import BODIES, Body, Event, Memo, RunSubmitted, event_id
from varloop.journal import Journal, Record, memory_digest, write_record
from varloop.progress import Iteration
from varloop.spec import RunSpec, parse
from varloop.store import Store
from varloop.store.layout import index_key, step_key, submitted_key
from varloop.support.cache import LruCache
from varloop.support.clock import Clock, SystemClock
from varloop.wire.claims import Claims
from varloop.wire.codec import OWN_SOURCE, encode_body, from_json, to_json

if TYPE_CHECKING:
    import numpy as np

    from varloop.quantum.backends import Backends
    from varloop.quantum.circuits import Load
    from varloop.quantum.pool import TemplatePool
    from varloop.quantum.templates import Template

__all__ = ["Context", "Resources"]


class Resources:
    """What the functions of one process share, whatever their threads. Qiskit is loaded when a function first asks for it.

    :param load: reads the circuits of specs. By default this process does; a host that takes specs from strangers
        gives its :class:`varloop.quantum.sandbox.Sandbox`.
    """

    CAPACITY = 4096

    def __init__(
        self,
        store: Store,
        clock: Clock | None = None,
        types: dict[str, type[Body]] = BODIES,
        load: Load | None = None,
    ) -> None:
        self.store = store
        self.clock = clock or SystemClock()
        self.claims = Claims(store, types)
        self.types = types
        self._load = load
        self._journals: LruCache[str, Journal] = LruCache(self.CAPACITY)
        self._specs: LruCache[str, RunSpec] = LruCache(self.CAPACITY)

    @cached_property
    def backends(self) -> Backends:
        """Backends by name."""
        from varloop.quantum.backends import Backends

        return Backends()

    @cached_property
    def load(self) -> Load:
        """Reads the circuits of specs."""
        from varloop.quantum.circuits import load

        return self._load or load

    @cached_property
    def templates(self) -> TemplatePool:
        """Compiled circuits."""
        from varloop.quantum.pool import TemplatePool

        return TemplatePool(self.store, self.load)

    def journal(self, run: str) -> Journal:
        """The journal of a run."""
        return self._journals.recall(run) or self._journals.keep(run, Journal(self.store, run))

    def register(self, event: Event[RunSubmitted]) -> Event[RunSubmitted]:
        """Take note of a submission, once: the one door that every submission goes through, wherever it comes from.
        One that does not say its time is made now; a large spec is deposited.

        :return: the submission as it may be published, with the time that is on record.
        :raises ConflictError: if the run id belongs to another submission.
        """
        data, encoded = self.claims.deposit(event.data, event.run)
        time = event.time or round(self.clock.now(), 6)
        event = msgspec.structs.replace(event, data=data, encoded=encoded, time=time)
        if self.store.create(submitted_key(event.run), to_json(event)):
            self._journals.pop(event.run, None)  # of a run of this name that was collected
            self._specs.pop(event.run, None)
        else:
            event = self.check_free(event)
        index = index_key(event.time, event.run)
        self.store.create(index, b"")  # each time: whoever came first may have died here
        return event

    def check_free(self, event: Event[RunSubmitted]) -> Event[RunSubmitted]:
        """Look whether a submission can be registered, or is.

        :return: the submission, with the time that is on record if there is one.
        :raises ConflictError: if the run id belongs to another submission.
        """
        data = self.store.find(submitted_key(event.run))
        if data is None:
            return event
        other = from_json(data, self.types)
        mine, theirs = (encode_body(self.claims.redeem(each)) for each in (event, other))
        if (event.pipeline, mine) != (other.pipeline, theirs):
            raise ConflictError(
                "this run id belongs to another spec, which is untouched",
                run=event.run,
                hint="submit under a new run id",
            )
        return msgspec.structs.replace(event, time=other.time)

    def submitted(self, run: str) -> Event[Any]:
        """The submission of a run.

        :raises UnknownRun: if there is no such run.
        """
        data = self.store.find(submitted_key(run))
        if data is None:
            raise UnknownRun(f"{self.store.url} knows no such run", run=run, hint="submit it first")
        return from_json(data, self.types)

    def spec(self, run: str) -> RunSpec:
        """The spec of a run.

        :raises UnknownRun: if there is no such run.
        :raises SpecError: if its spec has faults.
        """
        found = self._specs.recall(run)
        if found is None:
            body = self.claims.redeem(self.submitted(run))
            found = self._specs[run] = parse(body.spec)  # type: ignore[attr-defined]
        return found


class Context:
    """One call of a function."""

    __slots__ = ("_resources", "event", "function", "journal", "memory", "reported")

    def __init__(self, resources: Resources, event: Event[Any], function: str) -> None:
        self._resources = resources
        self.event = event
        self.function = function
        self.journal = resources.journal(event.run)
        self.memory: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
        self.reported: Iteration | None = None

    @property
    def run(self) -> str:
        """Id of the run."""
        return self.event.run

    @property
    def iteration(self) -> int:
        """Index of the iteration, from 0."""
        return self.event.iteration

    @property
    def _key(self) -> str:
        """Key of this call's record."""
        return step_key(self.iteration, self.function, self.event.shard, self.event.shards)

    @property
    def spec(self) -> RunSpec:
        """The run's spec."""
        return self._resources.spec(self.event.run)

    @property
    def submitted(self) -> float:
        """When the run was submitted, seconds since the epoch."""
        return self._resources.submitted(self.event.run).time

    @property
    def resources(self) -> Resources:
        """What the functions of this process share."""
        return self._resources

    @property
    def store(self) -> Store:
        """Objects that all processes share."""
        return self._resources.store

    @property
    def clock(self) -> Clock:
        """Tells the time. What it tells must not decide an outcome, deadlines excepted."""
        return self._resources.clock

    @property
    def backends(self) -> Backends:
        """Backends by name."""
        return self._resources.backends

    @property
    def load(self) -> Load:
        """Reads the circuits of specs, within this host's limits."""
        return self._resources.load

    @property
    def templates(self) -> TemplatePool:
        """Compiled circuits."""
        return self._resources.templates

    def template(self, key: str) -> Template:
        """The compiled circuit of the run with this key."""
        return self.templates.get(key, self.spec, self.backends.get(self.spec.backend))

    @property
    def seed(self) -> int:
        """The iteration's seed, 31 bits: the same for the same spec seed, in every function and process. Each shard of
        an iteration has its own.
        """
        event = self.event
        part = "" if event.shards == 1 else f"@{event.shard}of{event.shards}"
        text = f"{self.spec.seed}/{event.iteration}{part}"
        return zlib.crc32(text.encode()) & 0x7FFFFFFF

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers of this call: the same for the same spec seed, iteration and function."""
        import numpy as np

        return np.random.default_rng([self.seed, zlib.crc32(self.function.encode())])

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """Logs with the run id and the iteration."""
        extra = {"run": self.run, "iteration": self.iteration}
        return logging.LoggerAdapter(logging.getLogger(f"varloop.{self.function}"), extra)

    def take_place(self, iteration: int, function: str, body: Body | None = None) -> bool:
        """Record an outcome in the place of a call that was not made yet; True if it was not.

        Whoever comes to make that call takes this outcome instead.

        :param body: what it emits; by default nothing, so that the call is void.
        """
        raws = []
        if body is not None:
            event, data = self.event, encode_body(body)
            emitted = Event(
                id=event_id(event.pipeline, event.run, iteration, body.type, data),
                source=OWN_SOURCE + function,
                run=event.run,
                data=body,
                time=round(self.clock.now(), 6),
                pipeline=event.pipeline,
                iteration=iteration,
                encoded=data,
            )
            raws = [msgspec.Raw(to_json(emitted))]
        return self.journal.block(step_key(iteration, function), write_record(Record(events=raws)))

    def remember(self, memory: object) -> Memo:
        """Record plain data together with this call's outcome, for :meth:`recall` in a later call."""
        self.memory = msgspec.Raw(msgspec.json.encode(memory))
        return Memo(self._key, memory_digest(self.memory))

    def progress(self, iteration: Iteration) -> None:
        """Report a finished iteration, recorded with this call's outcome: what people see of a run while it goes.

        Only a function that leaves a record can report, so not a pure one.
        """
        self.reported = iteration

    def recall(self, memo: Memo) -> Any:
        """What an earlier call remembered."""
        return self.journal.recall(memo)

    def once(self, key: str, compute: Callable[[], Any]) -> Any:
        """Plain data that is computed once per run and key, whatever is killed or delivered twice."""
        name = f"{self._key}.{key}"
        return msgspec.json.decode(self.journal.once(name, lambda: msgspec.json.encode(compute())).value)
