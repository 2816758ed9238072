"""`alula down`."""

from pathlib import Path

import click


@click.command()
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="ALULA_HOME",
    default=Path("~/.alula"),
    show_default=True,
    help="The folder of the server.",
)
def down(home: Path) -> None:
    """Stop the server of a folder, and end whatever runs there, also what a server that was killed has left."""
    from alula.app.down import down as end
    from alula.core.errors import DomainError

    try:
        end(home.expanduser().absolute(), lambda line: click.echo(line))
    except DomainError as error:
        raise click.ClickException(str(error)) from error
