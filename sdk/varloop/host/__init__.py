"""Hosts: what calls functions. Each host moves events; what a delivery means is decided here, once.

:class:`Invoker` turns one delivery into one :class:`Outcome`; a host only translates that: acknowledge,
HTTP status, exit code.
"""

from varloop.host.invoke import Invoker, Outcome, Verdict
from varloop.host.pipelines import load_pipelines

__all__ = ["Invoker", "Outcome", "Verdict", "load_pipelines"]
