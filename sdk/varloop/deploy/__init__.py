"""Functions onto a Knative cluster, with the ``func`` and ``kubectl`` programs that are installed.

A *project* is a folder that ``func`` builds. The default pipeline's four lie in a checkout's ``functions/``;
those of an app of your own are written from its file. What ``func`` cannot say about a service is patched
onto it after each deployment (``service-patch.json``).
"""

from varloop.deploy.cluster import Cluster
from varloop.deploy.doctor import Finding, examine
from varloop.deploy.pipeline import deploy_app, deploy_default, undeploy
from varloop.deploy.project import Project

__all__ = ["Cluster", "Finding", "Project", "deploy_app", "deploy_default", "examine", "undeploy"]
