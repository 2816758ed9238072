"""`alula serve`."""

import asyncio
import logging
import sys
from pathlib import Path

import click


@click.command()
@click.option("--config", type=click.Path(path_type=Path), help="The configuration file, in TOML.")
@click.option("--check", is_flag=True, help="Only try everything that it needs, and tell what would be started.")
@click.option("--config-reference", is_flag=True, help="Print every key with its type, default and meaning.")
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def serve(config: Path | None, check: bool, config_reference: bool, verbose: bool) -> None:
    """Start a server, or any part of one, as a configuration file says; stop it with SIGTERM.

    Exit codes: 0, it ended as it was told to; 1, something it needs cannot be used; 2, the command or its file is
    wrong.
    """
    from alula.app.config import load, reference
    from alula.core.errors import DomainError, Invalid

    if config_reference:
        click.echo(reference(), nl=False)
        return
    if config is None:
        raise click.UsageError("name the configuration file with --config; --config-reference tells what it may say")
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    for noisy in ("httpx", "httpcore"):  # a line for each request
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        settings = load(config)
        from alula.app import run

        if check:
            for line in asyncio.run(run.check(settings)):
                click.echo(line)
        else:
            run.run(settings, click.echo)
    except Invalid as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except DomainError as error:
        raise click.ClickException(str(error)) from error
