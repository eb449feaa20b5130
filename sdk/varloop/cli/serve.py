"""``varloop serve``: a server that takes CloudEvents from any language."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import click

from varloop.cli import common
from varloop.errors import UsageError

if TYPE_CHECKING:
    from werkzeug.serving import BaseWSGIServer

__all__ = ["serve_command"]


@click.command("serve")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. There is no authentication: open it to a network you trust only.",
)
@click.option("--port", default=8765, show_default=True, help="Port to listen on; 0 for any free one.")
@common.app_option
@common.store_option
def serve_command(host: str, port: int, apps: tuple[str, ...], store: str) -> None:
    r"""Take CloudEvents over HTTP and run them here.

    Goes on with the runs of its store that have not ended.

    \b
    POST /                 run.submitted and other events: binary, structured or batched
    GET  /runs             where every run stands
    GET  /runs/ID          where a run stands
    GET  /runs/ID/events   its events as they happen (server-sent events)
    """
    from varloop.host import load_pipelines
    from varloop.host.server.server import Service, listen
    from varloop.store import open_store
    from varloop.support.clock import SystemClock

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    service = Service(load_pipelines(common.load_apps(apps)), open_store(store), SystemClock())
    try:
        server = listen(service, host, port)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}", hint="--port 0"
        ) from error
    resumed = service.start()
    click.echo(f"listening on http://{host}:{server.port}  (store {service.store.url}; Ctrl-C stops)")
    if resumed:
        click.echo(f"going on with {', '.join(resumed)}")
    _serve(server)
    click.echo("finishing the job under way; Ctrl-C again to leave it, nothing is lost", err=True)
    service.stop()


def _serve(server: BaseWSGIServer) -> None:
    """Answer until a signal tells to stop. The next one is deadly again."""
    told = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: told.set()) for number in signals]
    thread = threading.Thread(target=server.serve_forever, name="varloop-http")
    thread.start()
    told.wait()
    for number, handler in zip(signals, before, strict=True):
        signal.signal(number, handler)
    server.shutdown()
    thread.join()
    server.server_close()
