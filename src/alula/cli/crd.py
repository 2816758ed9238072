"""`alula crd`: the custom resource that the control plane and the Manager speak through."""

import asyncio
from pathlib import Path

import click

_PATIENCE = 60  # seconds until a cluster serves what it was given


@click.group()
def crd() -> None:
    """The TaskAction resource of a Kubernetes cluster."""


@crd.command("print")
def print_() -> None:
    """Print its definition, to be applied by other means."""
    from alula.manager.crds import text

    click.echo(text(), nl=False)


@crd.command()
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="How to reach the cluster.  [default: $KUBECONFIG, ~/.kube/config, or the service account of the pod]",
)
@click.option("--context", default="", help="Which of its contexts.  [default: the current one]")
def install(kubeconfig: Path | None, context: str) -> None:
    """Have the cluster know it, or its newer form; waits until it does."""
    from alula.kube.objects import KubeError

    try:
        asyncio.run(_install(kubeconfig, context))
    except TimeoutError:
        raise click.ClickException(
            f"the cluster has taken it, and does not serve it after {_PATIENCE} s: see `kubectl describe crd`"
        ) from None
    except KubeError as error:
        raise click.ClickException(str(error)) from error
    click.echo("taskactions.flyte.org is installed")


async def _install(kubeconfig: Path | None, context: str) -> None:
    from alula.kube.client import Kube
    from alula.manager.crds import install as into

    async with Kube.connect(kubeconfig, context) as kube, asyncio.timeout(_PATIENCE):
        await into(kube)
