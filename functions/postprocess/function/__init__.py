"""The postprocess step: from measured outcomes to the objective, its error and its gradient."""

from .step import app

__all__ = ["app", "new"]


def new() -> object:
    """The function as Knative's func runtime hosts it."""
    from varloop.host.knative import serve_function

    return serve_function(app)
