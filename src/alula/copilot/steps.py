"""The two steps that are taken for a raw container, and how their failures are told."""

from collections.abc import Mapping
from pathlib import Path

from flyteidl2.core import execution_pb2, interface_pb2

from alula.copilot.inputs import lay
from alula.copilot.objects import write
from alula.copilot.outputs import complaint, gather
from alula.core.copilot import Tree
from alula.core.errors import Invalid
from alula.core.launch import Staging


class Failed(Exception):
    """The container cannot run, or broke its contract; ``code`` is the failure's, for the user.

    ``again``: another try may help. ``told``: it said so itself.
    """

    def __init__(self, code: str, message: str, *, again: bool = False, told: bool = False) -> None:
        super().__init__(message)
        self.code, self.again, self.told = code, again, told


def download(staging: Staging, folder: Path, inside: str) -> Mapping[str, Tree]:
    """Lay the inputs out in a folder, which is ``inside`` for the container; what they are, by their names.

    Raises:
        Failed: an input is of a kind that no file can hold.
        OSError: an object cannot be read.
    """
    try:
        return lay(staging, folder, inside)
    except Invalid as refusal:
        raise Failed("InvalidInput", str(refusal)) from refusal


def upload(staging: Staging, folder: Path) -> None:
    """Collect the outputs that the container left in a folder.

    Raises:
        Failed: it says that it failed, or an output is missing or not of its type.
        OSError: an object cannot be written.
    """
    if (said := complaint(folder)) is not None:
        raise Failed("User Error", said or "the container wrote an empty _ERROR", again=True, told=True)
    interface = interface_pb2.TypedInterface.FromString(staging.interface)
    try:
        outputs = gather(folder, interface, staging.raw)
    except Invalid as refusal:
        raise Failed("InvalidOutput", str(refusal), again=True) from refusal
    write(outputs.SerializeToString(), f"{staging.outputs}/outputs.pb")


def tell(failure: Failed, prefix: str) -> None:
    """Write the failure where an attempt's failure is looked for."""
    kind = execution_pb2.ContainerError.RECOVERABLE if failure.again else execution_pb2.ContainerError.NON_RECOVERABLE
    error = execution_pb2.ContainerError(
        code=failure.code, message=str(failure), kind=kind, origin=execution_pb2.ExecutionError.USER
    )
    write(execution_pb2.ErrorDocument(error=error).SerializeToString(), f"{prefix}/error.pb")
