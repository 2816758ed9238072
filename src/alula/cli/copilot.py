"""`alula copilot`: beside a raw container in a pod, it lays out its inputs and collects its outputs.

The pod that starts it is made by `manager/podspec/copilot.py`; the exit code and the last words are read by
`manager/podspec/observe.py`. Failures are written as the attempt's error.pb, too; but not that an output is missing: a
container that failed by itself has left none, and then that is the reason.
"""

import signal
import sys
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import click

from alula.core.copilot import REFUSED
from alula.core.launch import Staging

_LAST_WORDS = Path("/dev/termination-log")  # Kubernetes keeps it in the container's status
_MOST = 4096  # bytes of it
_FAILED = 1
_FORMS = ("JSON", "YAML", "PROTO")


@click.group()
def copilot() -> None:
    """Serve a raw container from beside it, in its pod."""


@copilot.command()
@click.option("--from-remote", required=True, help="The URI of its inputs.pb.")
@click.option("--to-output-prefix", required=True, help="Where its error.pb goes.")
@click.option("--to-local-dir", type=click.Path(path_type=Path), required=True, help="The folder it finds them in.")
@click.option(
    "--format", "form", type=click.Choice(_FORMS), default="JSON", help="Of the file that describes them all."
)
@click.option("--file-input-layout", type=click.Choice(("DIRECT", "NAMED_DIR")), default="DIRECT")
def download(from_remote: str, to_output_prefix: str, to_local_dir: Path, form: str, file_input_layout: str) -> None:
    """Lay the inputs out. Exit codes: 0; 65, they cannot be laid out; others, they cannot be read."""
    named = file_input_layout == "NAMED_DIR"
    staging = Staging(from_remote, to_output_prefix, "", b"", form=form.lower(), named=named)

    def lay() -> None:
        from alula.copilot import steps

        steps.download(staging, to_local_dir, str(to_local_dir))

    _end(lay, to_output_prefix, tells=True)


@copilot.command()
@click.option("--to-raw-output", required=True, help="Where its files go.")
@click.option("--to-output-prefix", required=True, help="Where its outputs.pb and error.pb go.")
@click.option("--from-local-dir", type=click.Path(path_type=Path), required=True, help="The folder it leaves them in.")
@click.option("--interface", required=True, help="Its TypedInterface, serialized, in base64.")
@click.option("--ready", type=click.Path(path_type=Path), help="A file to write once it can be told to begin.")
def upload(to_raw_output: str, to_output_prefix: str, from_local_dir: Path, interface: str, ready: Path | None) -> None:
    """Wait for SIGTERM, which says that the container has ended, and collect its outputs.

    Exit codes: 0; 65, the container broke its contract; others, the outputs cannot be written.
    """
    told = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, told)  # one that comes early waits, also for the first process
    if ready is not None:
        ready.touch()
    from alula.copilot import steps  # while the container runs: there is time

    signal.sigwait(told)
    staging = Staging("", to_output_prefix, to_raw_output, b64decode(interface))
    _end(lambda: steps.upload(staging, from_local_dir), to_output_prefix, tells=False)


def _end(step: Callable[[], None], prefix: str, *, tells: bool) -> None:
    """Take a step, and end as it ends. ``tells``: every failure is the attempt's, and not only one that it told of."""
    from alula.copilot.steps import Failed, tell

    try:
        step()
    except Failed as failure:
        words, code = f"{failure.code}: {failure}", REFUSED
        if tells or failure.told:
            tell(failure, prefix)
    except Exception as failure:  # of the object store, or of the disk
        words, code = f"{type(failure).__name__}: {failure}", _FAILED
    else:
        return
    click.echo(words, err=True)
    if _LAST_WORDS.exists():
        _LAST_WORDS.write_bytes(words.encode()[:_MOST])
    sys.exit(code)
