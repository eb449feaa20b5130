"""The optimize step: from the objective to the next points, or to the result."""

from .step import app

__all__ = ["app", "new"]


def new() -> object:
    """The function as Knative's func runtime hosts it."""
    from varloop.host.knative import serve_function

    return serve_function(app)
