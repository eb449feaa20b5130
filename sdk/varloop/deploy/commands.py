"""``varloop deploy``, ``undeploy`` and the cluster's part of ``doctor``."""

from __future__ import annotations

import time
from pathlib import Path

import click

from varloop.app import DEFAULT
from varloop.deploy.cluster import NAMESPACE, Cluster
from varloop.deploy.doctor import examine
from varloop.deploy.pipeline import Say, deploy_app, deploy_default
from varloop.deploy.pipeline import undeploy as take_off

__all__ = ["commands", "show_cluster"]

namespace_option = click.option(
    "--namespace", default=NAMESPACE, show_default=True, help="Where the functions are."
)


@click.command()
@click.argument("app", required=False, type=click.Path(path_type=Path))
@click.option(
    "--registry",
    required=True,
    envvar="VARLOOP_REGISTRY",
    help="HOST/PATH of images; has core and quantum in it.",
)
@click.option(
    "--overlay",
    type=click.Path(path_type=Path),
    default=Path("eventing/overlays/prod"),
    show_default=True,
    help="Kustomize folder of the Broker and the Triggers.",
)
@click.option(
    "--require", "requirements", multiple=True, help="A package that APP's functions need; may be repeated."
)
@namespace_option
def deploy(
    app: Path | None, registry: str, overlay: Path, requirements: tuple[str, ...], namespace: str
) -> None:
    """Deploy the default pipeline from a checkout of varloop, or the pipeline of your own that APP defines.

    The images of scripts/base-image must be in the registry. Deploying again changes what is there.
    """
    cluster, say = Cluster(namespace), _progress()
    if app is None:
        deploy_default(cluster, registry, Path(), overlay, say)
        name = DEFAULT
    else:
        name = ", ".join(deploy_app(cluster, registry, app, requirements, say))
    (broker,) = cluster.get("broker", "varloop")
    say(f"pipeline {name} takes events at {broker['status']['address']['url']} (inside the cluster)")


@click.command()
@click.argument("pipeline", default=DEFAULT)
@namespace_option
def undeploy(pipeline: str, namespace: str) -> None:
    """Take PIPELINE off the cluster. Runs and results stay in the store."""
    take_off(Cluster(namespace), pipeline, _progress())


def show_cluster(namespace: str = NAMESPACE) -> bool:
    """Print what a cluster has and lacks; True if nothing is missing."""
    findings = list(examine(Cluster(namespace)))
    for finding in findings:
        click.echo(f"{'ok     ' if finding.ok else 'missing'} {finding.what}: {finding.detail}")
        if not finding.ok:
            click.echo(f"        {finding.hint}")
    return all(finding.ok for finding in findings)


commands: list[click.Command] = [deploy, undeploy]


def _progress() -> Say:
    """Prints what is done, with the seconds since the beginning."""
    started = time.monotonic()
    return lambda text: click.echo(f"{time.monotonic() - started:6.1f} s  {text}")
