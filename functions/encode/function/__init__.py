"""The encode step: from a run's spec to a compiled circuit and the first points."""

from .step import app

__all__ = ["app", "new"]


def new() -> object:
    """The function as Knative's func runtime hosts it."""
    from varloop.host.knative import serve_function
    from varloop.quantum.sandbox import Sandbox

    sandbox = Sandbox()
    sandbox.start()  # before there are threads: most submissions have a circuit
    return serve_function(app, load=sandbox.load)
