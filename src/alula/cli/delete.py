"""`alula delete`: what the protocol has no call for."""

import json
import sys
from typing import Any

import click

_OUTPUT = click.option("--output", type=click.Choice(["text", "json"]), default="text", help="How to print the counts.")


@click.group()
def delete() -> None:
    """Delete what is not needed any more."""


@delete.command()
@click.argument("name")
@click.option("-p", "--project", default="flytesnacks", show_default=True)
@click.option("-d", "--domain", default="development", show_default=True)
@click.option("--endpoint", default="http://localhost:30080", show_default=True, help="The server.")
@click.confirmation_option("-y", "--yes", prompt="The run, its data and its logs will be gone. Delete it?")
@_OUTPUT
def run(name: str, project: str, domain: str, endpoint: str, output: str) -> None:
    """Delete a run that has ended: its rows, objects, logs and cached results."""
    from urllib.parse import quote

    import httpx

    path = "/".join(quote(part, safe="") for part in (project, domain, name))
    gone: dict[str, Any] = {}
    try:
        with httpx.stream("DELETE", f"{endpoint.rstrip('/')}/api/runs/{path}", timeout=None) as answer:  # noqa: S113 - it may take long
            for line in answer.iter_lines():
                gone = json.loads(line)
                if "message" in gone:
                    raise click.ClickException(gone["message"])
                if output == "text":
                    _progress(gone)
    except httpx.HTTPError as error:
        raise click.ClickException(f"{endpoint} cannot be reached ({error}): name the server with --endpoint") from None
    click.echo(json.dumps(gone) if output == "json" else f"deleted run {name}: {_told(gone)}")


def _progress(gone: dict[str, Any]) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{_told(gone)}\033[K", nl=False, err=True)


def _told(gone: dict[str, Any]) -> str:
    counts = ", ".join(f"{gone.get(what, 0)} {what}" for what in ("actions", "events", "objects", "logs", "cached"))
    return f"{counts} ({gone.get('bytes', 0)} bytes)"
