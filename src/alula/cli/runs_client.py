"""`runs-client`: runs and their actions, from a shell."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import click
from flyteidl2.common import identifier_pb2, list_pb2, phase_pb2
from flyteidl2.dataproxy import dataproxy_service_pb2
from flyteidl2.workflow import run_definition_pb2, run_service_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from alula.cli.connect import CallFailed, Connect

_RUNS = run_service_pb2.DESCRIPTOR.services_by_name["RunService"].methods_by_name
_DATA = dataproxy_service_pb2.DESCRIPTOR.services_by_name["DataProxyService"].methods_by_name
_MOST_ROWS = 200  # of one page


@dataclass(frozen=True, slots=True)
class Target:
    """What the options common to all commands say."""

    endpoint: str
    project: str
    domain: str
    output: str

    def run(self, name: str) -> identifier_pb2.RunIdentifier:
        return identifier_pb2.RunIdentifier(project=self.project, domain=self.domain, name=name)

    def action(self, run: str, name: str) -> identifier_pb2.ActionIdentifier:
        return identifier_pb2.ActionIdentifier(run=self.run(run), name=name)

    @property
    def project_id(self) -> identifier_pb2.ProjectIdentifier:
        return identifier_pb2.ProjectIdentifier(name=self.project, domain=self.domain)


Command = Callable[..., Awaitable[None]]


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Runs and their actions on an alula server."""


def _command(name: str) -> Callable[[Command], click.Command]:
    """A command of `main` with the common options; an error becomes one line and exit code 1."""

    def decorate(function: Command) -> click.Command:
        @wraps(function)
        def run(endpoint: str, project: str, domain: str, output: str, **options: Any) -> None:
            async def call() -> None:
                async with Connect(endpoint) as server:
                    await function(server, Target(endpoint, project, domain, output), **options)

            try:
                asyncio.run(call())
            except CallFailed as error:
                raise click.ClickException(f"{error.code}: {error}") from error

        for option in (
            click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True),
            click.option("--domain", default="development", show_default=True),
            click.option("--project", default="flytesnacks", show_default=True),
            click.option(
                "--endpoint", default="http://localhost:8090", show_default=True, help="The server's address."
            ),
        ):
            run = option(run)
        command: click.Command = main.command(name, help=function.__doc__)(run)
        return command

    return decorate


_run_name = click.option("--run-name", required=True, help="The run.")


@_command("create-run")
@click.option("--image", default="python:3.11", show_default=True, help="The container image to name.")
@click.option("--run-name", default="", help="The run's name; invented by the server if not given.")
@click.option("--input", "inputs", multiple=True, metavar="NAME=VALUE", help="A string input; may be repeated.")
@click.argument("command", nargs=-1, required=True)
async def create_run(
    server: Connect, target: Target, image: str, run_name: str, inputs: Sequence[str], command: Sequence[str]
) -> None:
    """Run COMMAND as a container task: runs-client create-run -- python -c "print('Hello Flyte')"."""
    request = run_service_pb2.CreateRunRequest(source=run_definition_pb2.RUN_SOURCE_CLI)
    if run_name:
        request.run_id.CopyFrom(target.run(run_name))
    else:
        request.project_id.CopyFrom(target.project_id)
    template = request.task_spec.task_template
    template.type = "container"
    template.id.project, template.id.domain, template.id.name = target.project, target.domain, "runs-client"
    template.container.image = image
    template.container.args.extend(command)
    request.task_spec.short_name = "runs-client"
    request.inputs.SetInParent()
    for pair in inputs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"{pair!r}: write NAME=VALUE", param_hint="--input")
        request.inputs.literals.add(name=name).value.scalar.primitive.string_value = value
    response = await server.call(_RUNS["CreateRun"], request)
    _print(target, response, [_action_row(response.run.action, name=response.run.action.id.run.name)], "RUN")


@_command("get-run")
@_run_name
async def get_run(server: Connect, target: Target, run_name: str) -> None:
    """Show one run."""
    request = run_service_pb2.GetRunDetailsRequest(run_id=target.run(run_name))
    response = await server.call(_RUNS["GetRunDetails"], request)
    action = response.details.action
    _print(target, response, [_action_row(action, name=run_name)], "RUN")
    if target.output == "table" and action.HasField("error_info"):
        click.echo(f"{action.error_info.code}: {action.error_info.message}")


@_command("list-runs")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, _MOST_ROWS))
async def list_runs(server: Connect, target: Target, limit: int) -> None:
    """List runs, the newest first."""
    request = run_service_pb2.ListRunsRequest(
        project_id=target.project_id, request=list_pb2.ListRequest(limit=limit, sort_by=list_pb2.Sort(key="created_at"))
    )
    response = await server.call(_RUNS["ListRuns"], request)
    _print(target, response, [_action_row(run.action, name=run.action.id.run.name) for run in response.runs], "RUN")


@_command("list-actions")
@_run_name
async def list_actions(server: Connect, target: Target, run_name: str) -> None:
    """List the actions of a run, the oldest first."""
    request = run_service_pb2.ListActionsRequest(
        run_id=target.run(run_name), request=list_pb2.ListRequest(limit=_MOST_ROWS)
    )
    whole = run_service_pb2.ListActionsResponse()
    while True:
        response = await server.call(_RUNS["ListActions"], request)
        whole.actions.extend(response.actions)
        request.request.token = response.token
        if not response.token:
            break
    _print(target, whole, [_action_row(action, name=action.id.name) for action in whole.actions], "ACTION")


@_command("watch")
@_run_name
async def watch(server: Connect, target: Target, run_name: str) -> None:
    """Tell of a run's actions as they change, until the run has ended."""
    request = run_service_pb2.WatchActionsRequest(run_id=target.run(run_name))
    told: dict[str, int] = {}
    async for response in server.stream(_RUNS["WatchActions"], request):
        for enriched in response.enriched_actions:
            action = enriched.action
            if told.get(action.id.name) != action.status.phase:
                told[action.id.name] = action.status.phase
                _print_line(target, action)
        if _ended(told.get("a0", 0)):
            return


@_command("abort")
@_run_name
@click.option("--reason", default="aborted with runs-client", show_default=True)
async def abort(server: Connect, target: Target, run_name: str, reason: str) -> None:
    """Abort a run and everything that it started."""
    response = await server.call(
        _RUNS["AbortRun"], run_service_pb2.AbortRunRequest(run_id=target.run(run_name), reason=reason)
    )
    if target.output == "json":
        click.echo(_json(response))
    else:
        click.echo(f"run {run_name} is aborted")


@_command("logs")
@_run_name
@click.option("--action", default="a0", show_default=True)
@click.option("--attempt", default=1, show_default=True, type=click.IntRange(1))
async def logs(server: Connect, target: Target, run_name: str, action: str, attempt: int) -> None:
    """Print the log of an action's attempt, and follow it until the attempt ends."""
    request = dataproxy_service_pb2.TailLogsRequest(action_id=target.action(run_name, action), attempt=attempt)
    responses: AsyncIterator[dataproxy_service_pb2.TailLogsResponse] = server.stream(_DATA["TailLogs"], request)
    async for response in responses:
        for batch in response.logs:
            for line in batch.lines:
                click.echo(_json(line) if target.output == "json" else line.message, nl=target.output == "json")


def _action_row(action: Any, name: str) -> tuple[str, ...]:
    status, metadata = action.status, action.metadata
    what = metadata.task.short_name or metadata.trace.name
    took = f"{status.duration_ms / 1000:.2f}s" if status.HasField("duration_ms") else ""
    return name, what, _phase(status.phase), str(status.attempts), _time(status.start_time), took, metadata.parent


def _print(target: Target, response: Message, rows: Sequence[tuple[str, ...]], first: str) -> None:
    heads = (first, "TASK", "PHASE", "ATTEMPTS", "STARTED", "TOOK", "PARENT")
    if target.output == "json":
        click.echo(_json(response, indent=2))
    elif sys.stdout.isatty():
        _print_table(heads, rows)
    else:
        for row in (heads, *rows):
            click.echo("\t".join(row))


def _print_table(heads: Sequence[str], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*heads, box=None, header_style="bold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _print_line(target: Target, action: run_definition_pb2.Action) -> None:
    if target.output == "json":
        click.echo(_json(action))
    else:
        name, what, phase, *_ = _action_row(action, action.id.name)
        click.echo(f"{name}\t{what}\t{phase}")


def _json(message: Message, indent: int | None = None) -> str:
    return json.dumps(MessageToDict(message), indent=indent)


def _phase(number: int) -> str:
    return phase_pb2.ActionPhase.Name(number).removeprefix("ACTION_PHASE_")


def _ended(number: int) -> bool:
    return _phase(number) in ("SUCCEEDED", "FAILED", "ABORTED", "TIMED_OUT", "RECOVERED")


def _time(message: Timestamp) -> str:
    return message.ToDatetime().strftime("%Y-%m-%d %H:%M:%S") if message.seconds else ""
