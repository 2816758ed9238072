"""`alula`."""

import logging
import sys
from pathlib import Path

import click

from alula import __version__
from alula.cli.copilot import copilot
from alula.cli.crd import crd
from alula.cli.delete import delete
from alula.cli.down import down
from alula.cli.manager import manager
from alula.cli.migrate import migrate
from alula.cli.serve import serve


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="alula")
def main() -> None:
    """The Flyte 2 backend, on your machine."""


@main.command()
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="ALULA_HOME",
    default=Path("~/.alula"),
    show_default=True,
    help="The folder that everything is kept in.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="Listen on this port alone.  [default: 30080 and 8090]")
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def up(home: Path, port: int | None, verbose: bool) -> None:
    """Start a server for yourself and leave it running; stop it with Ctrl-C."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    from alula.core.errors import DomainError
    from alula.devbox.up import up as start

    try:
        start(home, port, lambda line: click.echo(line))
    except DomainError as error:
        raise click.ClickException(str(error)) from error


main.add_command(copilot)
main.add_command(crd)
main.add_command(delete)
main.add_command(down)
main.add_command(manager)
main.add_command(migrate)
main.add_command(serve)
