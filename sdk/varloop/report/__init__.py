"""One self-contained page about a run: what came of it, how, from what, and where the time went.

Law: everything is read from the run's store; nothing is computed again and no function is called. The page asks
no server for anything, reads without JavaScript, and is safe whatever a spec or an error message contains.
"""

from varloop.report.facts import Facts, gather
from varloop.report.page import page

__all__ = ["Facts", "gather", "page"]
