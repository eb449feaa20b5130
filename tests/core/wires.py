"""Events as they come from outside, and strategies that draw them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from varloop.evaluation import Evaluation
from varloop.events import (
    Body,
    CancelRequested,
    CircuitExecuted,
    Claim,
    Event,
    Job,
    Measurement,
    Memo,
    ObjectiveEvaluated,
    ParametersProposed,
    Readout,
    Request,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunSubmitted,
    Samples,
    Solution,
    event_id,
)
from varloop.wire.codec import encode_body

__all__ = ["ends", "events", "http", "structured", "text"]

numbers = st.floats(allow_nan=False, allow_infinity=False)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
shown = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
vectors = st.lists(numbers, max_size=3)
counts = st.integers(0, 10**6)
memos = st.builds(Memo, text, text)
points = {"template": text, "points": st.lists(vectors, max_size=3), "gradient": text, "memo": memos}
solutions = st.builds(Solution, bits=text, cost=numbers, probability=numbers)
plain = st.recursive(st.none() | st.booleans() | numbers | text, lambda inner: st.lists(inner, max_size=3))

ends: st.SearchStrategy[Body] = st.one_of(
    st.builds(
        RunCompleted,
        value=numbers,
        error=numbers,
        parameters=vectors,
        iterations=counts,
        shots=counts,
        reason=text,
        solution=st.none() | solutions,
    ),
    st.builds(RunFailed, error=text, detail=text, hint=text, faults=st.lists(text, max_size=3)),
    st.builds(RunCancelled, reason=text),
)

bodies: st.SearchStrategy[Body] = st.one_of(
    st.builds(RunSubmitted, spec=st.dictionaries(text, plain, max_size=3)),
    st.builds(ParametersProposed, **points),
    st.builds(
        CircuitExecuted,
        request=st.builds(Request, **points),
        job=st.builds(Job, backend=text, rows=counts, seconds=numbers),
        measurement=st.builds(
            Measurement,
            circuits=counts,
            shots=counts,
            values=st.none() | vectors,
            samples=st.none()
            | st.builds(
                Samples,
                num_qubits=counts,
                rows=counts,
                groups=counts,
                offsets=st.lists(counts, max_size=3),
                outcomes=st.binary(max_size=16),
                weights=st.binary(max_size=16),
            ),
            readout=st.none() | st.builds(Readout, errors=st.lists(vectors, max_size=2), shots=counts),
        ),
    ),
    st.builds(
        ObjectiveEvaluated,
        memo=memos,
        evaluation=st.builds(Evaluation, values=vectors, errors=vectors, gradient=st.none() | vectors),
        shots=counts,
        solution=st.none() | solutions,
    ),
    ends,
    st.builds(CancelRequested, reason=text),
    st.builds(
        Claim, of=st.just(RunCompleted.type), ref=st.from_regex(r"objects/[0-9a-f]{64}", fullmatch=True)
    ),
)


@st.composite
def events(draw: st.DrawFn, attributes: st.SearchStrategy[str] = shown) -> Event[Any]:
    """Events of any type, from a function of varloop or from elsewhere."""
    body, run, pipeline = draw(bodies), draw(names), draw(attributes.filter(len)) or "default"
    iteration = draw(st.integers(0, 999_999))
    type = body.of if isinstance(body, Claim) else body.type
    own = draw(st.booleans())
    return Event(
        id=event_id(pipeline, run, iteration, type, encode_body(body))
        if own
        else draw(attributes.filter(len)),
        source="varloop/step" if own else "app" + draw(attributes),
        run=run,
        data=body,
        time=draw(st.integers(-(10**15), 4 * 10**15)) / 10**6,
        pipeline=pipeline,
        iteration=iteration,
        traceparent=draw(attributes),
        tracestate=draw(attributes),
    )


def structured(**changes: Any) -> bytes:
    """A minimal foreign event in structured JSON; None takes an attribute away."""
    wire = {
        "specversion": "1.0",
        "id": "e1",
        "source": "elsewhere",
        "type": CancelRequested.type,
        "subject": "r",
        "data": {"reason": "enough"},
        **changes,
    }
    return json.dumps({name: value for name, value in wire.items() if value is not None}).encode()


def http(**changes: str | None) -> dict[str, str]:
    """Headers of a minimal foreign event in HTTP's binary mode; None takes one away."""
    headers = {
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": "e1",
        "ce-source": "elsewhere",
        "ce-type": CancelRequested.type,
        "ce-subject": "r",
    } | {f"ce-{name}": value for name, value in changes.items()}
    return {name: value for name, value in headers.items() if value is not None}
