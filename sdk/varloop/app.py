"""Apps: where functions are registered. An app is a pipeline; steps it does not define are inherited."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from varloop.errors import UsageError
from varloop.events import BODIES, Body, Event, RunSubmitted, Terminal

if TYPE_CHECKING:
    from varloop.context import Context

__all__ = ["DEFAULT", "STEPS", "App", "Function", "Pipelines"]

DEFAULT = "default"
STEPS = ("encode", "execute", "postprocess", "optimize")
"""functions of the default pipeline, in the order of an iteration"""
INSTALLED = "varloop_functions."
"""what the names of the installed functions' modules begin with"""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")
_PIPELINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")

Returned = Body | Iterable[Body] | None
Handler = Callable[[Event[Any], "Context"], Returned]
H = TypeVar("H", bound=Handler)
Bodies = type[Body] | tuple[type[Body], ...]


@dataclass(frozen=True, eq=False)
class Function:
    """A registered step: ``(event, context) -> body | bodies | None``, without state of its own."""

    name: str
    handler: Handler
    on: tuple[type[Body], ...]
    emits: tuple[type[Body], ...]
    pure: bool
    """the outcome depends on the event and stored objects alone: computed again rather than recorded"""
    retries: int | None = None
    """how often a call that raised a TemporaryError is made again; None is as the host's settings say"""
    timeout: float | None = None
    """seconds after which a call fails its run; None is as the host's settings say"""


class App:
    """A pipeline of functions.

    :param pipeline: the events' ``pipeline`` attribute that these functions serve: up to 63 letters, digits and ._-
    :raises UsageError: if it is no such name.
    """

    def __init__(self, pipeline: str = DEFAULT) -> None:
        if not (isinstance(pipeline, str) and _PIPELINE.fullmatch(pipeline)):
            raise UsageError(
                f"{pipeline!r:.120} is no name for a pipeline", hint=f"it must match {_PIPELINE.pattern}"
            )
        self.pipeline = pipeline
        self.functions: list[Function] = []

    def function(
        self,
        *,
        on: Bodies,
        emits: Bodies = (),
        name: str = "",
        pure: bool = False,
        retries: int | None = None,
        timeout: float | None = None,
    ) -> Callable[[H], H]:
        """Register a function for some event types.

        :param on: bodies it is called with; each type has one function in a pipeline.
        :param emits: bodies it may return; anything else is an error.
        :param name: its name in journals, traces and services; the Python function's by default.
        :param pure: see :attr:`Function.pure`; saves a store round trip per call. A pure function must
            not use the clock, random numbers other than the context's, or anything outside.
        :param retries: how often a call that raised a TemporaryError is made again before its run fails;
            :attr:`varloop.settings.Settings.retries` by default.
        :param timeout: seconds after which a call fails its run; :attr:`varloop.settings.Settings.timeout` by default.
            In a process that its caller drives (``varloop run``, ``varloop.submit``) nothing but the caller ends it.
        :raises UsageError: if another function of this app has the name or one of the types, or if a name
            or a type cannot be used.
        """

        def register(handler: H) -> H:
            function = Function(
                name=name or handler.__name__,
                handler=handler,
                on=_tuple(on),
                emits=_tuple(emits),
                pure=pure,
                retries=retries,
                timeout=timeout,
            )
            _usable(function)
            for other in self.functions:
                if other.name == function.name:
                    raise UsageError(f"pipeline {self.pipeline} has two functions named {function.name}")
                if shared := set(other.on) & set(function.on):
                    raise UsageError(
                        f"{other.name} and {function.name} of pipeline {self.pipeline} both take "
                        + ", ".join(sorted(body.type for body in shared))
                    )
            self.functions.append(function)
            return handler

        return register

    def types(self) -> dict[str, type[Body]]:
        """All bodies this app's functions take and return, by CloudEvents type."""
        return {body.type: body for function in self.functions for body in (*function.on, *function.emits)}

    def __repr__(self) -> str:
        return f"App({self.pipeline!r}, functions={[function.name for function in self.functions]})"


def _tuple(bodies: Bodies) -> tuple[type[Body], ...]:
    return (bodies,) if isinstance(bodies, type) else tuple(bodies)


def _usable(function: Function) -> None:
    """Refuse what could not travel or be recorded."""
    if not _NAME.fullmatch(function.name):
        raise UsageError(f"{function.name!r} is not a name for a function", hint="give it one by name='…'")
    if (function.retries or 0) < 0 or (function.timeout is not None and not function.timeout > 0):
        raise UsageError(
            f"{function.name} has retries={function.retries}, timeout={function.timeout}",
            hint="retries are 0 or more, a timeout is more than 0 seconds",
        )
    bodies: tuple[object, ...] = (*function.on, *function.emits)
    for body in bodies:
        if not (isinstance(body, type) and issubclass(body, Body)):
            raise UsageError(f"{body!r} of {function.name} is not a Body")
        if not body.type:
            raise UsageError(
                f"{body.__name__} has no type", hint=f"set {body.__name__}.type = 'com.example…'"
            )


class Pipelines:
    """All apps of a host, merged: which function of which pipeline takes an event.

    Several apps may define parts of one pipeline; the default pipeline fills the gaps of every other.
    """

    def __init__(self, apps: Iterable[App]) -> None:
        self.apps = tuple(apps)
        self.types: dict[str, type[Body]] = dict(BODIES)
        self._routes: dict[str, dict[str, Function]] = {DEFAULT: {}}
        for app in self.apps:
            routes = self._routes.setdefault(app.pipeline, {})
            for function in app.functions:
                for body in function.on:
                    if body.type in routes:
                        raise UsageError(f"two functions of pipeline {app.pipeline} take {body.type}")
                    routes[body.type] = function
            self._know(app.types())
        for pipeline in self._routes:
            self._check_names(pipeline)

    def _know(self, types: dict[str, type[Body]]) -> None:
        """Add an app's types; one that is taken would change how the events of others are read."""
        for type, body in types.items():
            if self.types.setdefault(type, body) is not body:
                raise UsageError(
                    f"{type} is the type of both {self.types[type].__name__} and {body.__name__}",
                    hint="give your own body a type of its own",
                )

    def _check_names(self, pipeline: str) -> None:
        """Records lie under the names of functions: each name stands for one step of a pipeline."""
        own, inherited = self._routes[pipeline], self._routes[DEFAULT] if pipeline != DEFAULT else {}
        names: dict[str, Function] = {}
        for type, function in own.items():
            if names.setdefault(function.name, function) is not function:
                raise UsageError(f"pipeline {pipeline} has two functions named {function.name}")
            replaced = inherited.get(type)
            if replaced and not (function.pure or replaced.pure or function.name == replaced.name):
                raise UsageError(
                    f"{function.name} of pipeline {pipeline} takes the place of {replaced.name}, "
                    "whose records others look for",
                    hint=f"register it with name={replaced.name!r}",
                )
            if not replaced and function.name in {other.name for other in inherited.values()}:
                raise UsageError(
                    f"{function.name} of pipeline {pipeline} takes {type}, and the pipeline inherits "
                    "another step of that name",
                    hint="give it a name of its own",
                )

    def route(self, pipeline: str, type: str) -> Function | None:
        """The function that takes an event, or None."""
        own = self._routes.get(pipeline, {}).get(type)
        return own or self._routes[DEFAULT].get(type)

    def __contains__(self, pipeline: str) -> bool:
        """Whether any app defines this pipeline."""
        return pipeline in self._routes

    def absence(self, pipeline: str) -> str:
        """What to say of a pipeline that no app defines; empty if one does."""
        return "" if pipeline in self else f"no pipeline {pipeline!r} here, only {', '.join(sorted(self))}"

    def __iter__(self) -> Iterator[str]:
        """Names of all pipelines."""
        return iter(self._routes)

    def takes_specs(self, pipeline: str) -> bool:
        """Whether varloop's own first step takes a pipeline's submissions: its checks can be made before."""
        first = self.route(pipeline, RunSubmitted.type)
        return first is not None and first.handler.__module__.startswith(INSTALLED)

    def refusal(self, pipeline: str, type: str) -> str:
        """Why no event of this type is taken from an application; empty if it is."""
        return self.absence(pipeline) or self.forgery(pipeline, type)

    def forgery(self, pipeline: str, type: str) -> str:
        """Why an application must not send events of this type: functions do, or nobody takes it. Empty if it may."""
        functions = {**self._routes[DEFAULT], **self._routes.get(pipeline, {})}
        emitted = {body.type for function in functions.values() for body in function.emits}
        if type in functions and type not in emitted:
            return ""
        return (
            f"{type} is not taken from applications: they send what some function takes and none emits, "
            f"such as {RunSubmitted.type}"
        )

    def outlives(self, pipeline: str, type: str) -> bool:
        """Whether an event still counts when its run has ended: the end itself, and what comes of it."""
        found = {body.type for body in Terminal}
        news = set(found)
        while news and type not in found:
            functions = [function for each in news if (function := self.route(pipeline, each))]
            news = {body.type for function in functions for body in function.emits} - found
            found |= news
        return type in found

    def recorders(
        self, pipeline: str, type: str, passed: frozenset[str] = frozenset()
    ) -> Iterator[tuple[Function, int]]:
        """The next functions downstream of an event that leave a record, and how many iterations later.

        :param passed: types that need not be followed again: pure functions may feed each other.
        """
        function = self.route(pipeline, type)
        if function is None or type in passed:
            return
        if not function.pure:
            yield function, 0
            return
        for body in function.emits:
            for recorder, later in self.recorders(pipeline, body.type, passed | {type}):
                yield recorder, later + body.advances
