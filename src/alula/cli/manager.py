"""`alula manager`: the controller that runs beside a cluster's API server."""

import asyncio
import gc
import logging
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alula.manager.plugins.base import Plugin, Store
    from alula.manager.settings import Manager

_YOUNG = 10_000  # new objects until the collector looks at them; Python's own 700 is for smaller programs


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="The configuration file, in TOML.")
@click.option("--kubeconfig", type=click.Path(path_type=Path), help="How to reach the cluster.")
@click.option("--context", help="Which of the kubeconfig's contexts.")
@click.option("--namespace", help='Whose TaskActions it carries out; "*" is all.')
@click.option("--control-plane", help="The URL of alula's API, which hears what happens.")
@click.option("--cluster", help="What people call this cluster.")
@click.option("--replica", help="The name of this process among those that share the work.")
@click.option("--listen", help="HOST:PORT of /healthz, /readyz and /metrics.")
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def manager(config: Path | None, verbose: bool, **flags: Any) -> None:
    """Carry out the TaskActions of a Kubernetes cluster; stop it with SIGTERM.

    Flags go before what the section [manager] of the configuration file says.

    Exit codes: 0, it ended as it was told to; 1, something it needs cannot be used; 2, the command or its file is
    wrong.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for noisy in ("httpx", "httpcore"):  # a line for each request
        logging.getLogger(noisy).setLevel(logging.WARNING)
    from alula.core.errors import DomainError, Invalid
    from alula.manager.loader import installed, load, own
    from alula.manager.settings import Manager, check
    from alula.manager.settings import load as read

    try:
        settings = read(config) if config else Manager()
        settings = replace(settings, **{key: value for key, value in flags.items() if value is not None})
        check(settings)
        plugins = load(own(settings), installed(), settings.override)
        for problem in plugins.problems:
            click.echo(f"Warning: {problem}", err=True)
        click.echo(f"task types: {', '.join(sorted(plugins.by_type))}")
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(settings, plugins.by_type))
    except Invalid as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except DomainError as error:
        raise click.ClickException(str(error)) from error


async def _run(settings: "Manager", plugins: "Mapping[str, Plugin]") -> None:
    from alula.manager.program import serve

    store: Store | None = None
    if settings.objects.remote:
        from alula.blobs.remote import remote

        store = remote(settings.objects)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    gc.freeze()  # what is loaded by now stays: the collector need not look at it
    gc.set_threshold(_YOUNG, 10, 10)
    await serve(settings, plugins, store, stop, click.echo)


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
