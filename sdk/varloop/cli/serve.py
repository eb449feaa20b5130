"""``varloop serve``: a server that takes CloudEvents from any language."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import click

from varloop.cli import common
from varloop.errors import UsageError
from varloop.support import logs

if TYPE_CHECKING:
    from varloop.host.server.http import HttpServer
    from varloop.host.server.service import Service

__all__ = ["serve_command"]


LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command("serve")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; beyond this machine with tokens.",
)
@click.option("--port", default=8765, show_default=True, help="Port to listen on; 0 for any free one.")
@click.option(
    "--token-file",
    default="",
    envvar="VARLOOP_TOKEN_FILE",
    show_envvar=True,
    metavar="FILE",
    help="Tokens, one a line, one of which each request must show. VARLOOP_TOKEN in the environment is one too.",
)
@click.option(
    "--allow-host",
    "names",
    multiple=True,
    metavar="NAME",
    help="Answer to this name too; localhost and addresses are known. May be repeated.",
)
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Let pages of this origin ask (CORS), e.g. https://lab.example; * is all. May be repeated.",
)
@common.log_option
@common.app_option
@common.store_option
def serve_command(
    *,
    host: str,
    port: int,
    log_format: str,
    token_file: str,
    names: tuple[str, ...],
    origins: tuple[str, ...],
    apps: tuple[str, ...],
    store: str,
) -> None:
    r"""Take CloudEvents over HTTP and run them here.

    Goes on with the runs of its store that have not ended.

    \b
    POST /                 run.submitted and other events: binary, structured or batched
    GET  /runs             where the newest runs stand
    GET  /runs/ID          where a run stands
    GET  /runs/ID/events   its events as they happen (server-sent events)
    """
    from varloop.host import load_pipelines
    from varloop.host.server.gate import Gate, tokens
    from varloop.host.server.http import HttpServer
    from varloop.host.server.service import Service
    from varloop.store import open_store
    from varloop.support.clock import SystemClock

    logs.configure(log_format)
    known = tokens(token_file, os.environ.get("VARLOOP_TOKEN", ""))
    gate = Gate(known, frozenset(names) | {host}, frozenset(origins))
    service = Service(load_pipelines(common.load_apps(apps)), open_store(store), SystemClock())
    try:
        server = HttpServer(service, host, port, gate)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}", hint="--port 0"
        ) from error
    resumed = service.start()
    click.echo(f"listening on http://{host}:{server.port}  (store {service.store.url}; Ctrl-C stops)")
    if host not in LOOPBACK and not known:
        click.echo(
            "everybody who reaches this address may submit and cancel runs: see --token-file", err=True
        )
    if resumed:
        click.echo(f"going on with {', '.join(resumed)}")
    _serve(server, service)


def _serve(server: HttpServer, service: Service) -> None:
    """Answer until a signal tells to stop. The next one is deadly again."""
    stop_asked = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: stop_asked.set()) for number in signals]
    thread = threading.Thread(target=server.serve, name="varloop-http")
    thread.start()
    stop_asked.wait()
    for number, handler in zip(signals, before, strict=True):
        signal.signal(number, handler)
    service.stopping.set()
    server.stop()
    thread.join()
    click.echo("finishing the job under way; Ctrl-C again to leave it, nothing is lost", err=True)
    service.stop()
