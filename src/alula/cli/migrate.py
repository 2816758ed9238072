"""`alula migrate`."""

import asyncio

import click


@click.command()
@click.option(
    "--database",
    required=True,
    envvar="ALULA_DATABASE",
    help="The database: postgresql://USER@HOST:PORT/NAME, or the path of a SQLite file.",
)
@click.option("--dry-run", is_flag=True, help="Only tell what would be applied.")
def migrate(database: str, dry_run: bool) -> None:
    """Bring the schema of a database up to date. Any number may do so at once; again, it changes nothing."""
    from alula.app.migrate import migrate as bring_up_to_date
    from alula.core.errors import DomainError

    try:
        names = asyncio.run(bring_up_to_date(database, dry_run=dry_run))
    except DomainError as error:
        raise click.ClickException(str(error)) from error
    for name in names:
        click.echo(f"{'would apply' if dry_run else 'applied'} {name}")
    if not names:
        click.echo("the database is up to date")
