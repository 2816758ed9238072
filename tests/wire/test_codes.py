"""The codes that failures have here, and the exceptions that the SDK makes of them."""

import pytest
from flyte import errors
from flyte._internal.runtime.convert import convert_error_to_native
from flyteidl2.core import execution_pb2

from alula.core.action import Blame

_KINDS = {Blame.USER: execution_pb2.ExecutionError.USER, Blame.SYSTEM: execution_pb2.ExecutionError.SYSTEM}
_U, _S = Blame.USER, Blame.SYSTEM


@pytest.mark.parametrize(
    ("code", "blame", "kind"),
    [
        ("OOMKilled", _U, errors.OOMError),
        ("ContainerFailed", _U, errors.RuntimeUserError),
        ("PrimaryContainerNotFound", _U, errors.PrimaryContainerNotFoundError),
        ("ContainersNotReady|ImagePullBackOff", _U, errors.ImagePullBackOffError),
        ("ContainersNotReady|InvalidImageName", _U, errors.InvalidImageNameError),
        ("MAX_RUNTIME_EXCEEDED", _U, errors.TaskTimeoutError),
        ("QUEUED_TIMEOUT_EXCEEDED", _U, errors.TaskTimeoutError),
        ("DEADLINE_EXCEEDED", _U, errors.TaskTimeoutError),
        ("ResourcesUnavailable", _U, errors.RuntimeUserError),
        ("BadTaskSpecification", _U, errors.RuntimeUserError),
        ("Interrupted", _S, errors.RuntimeSystemError),
        ("MaxSystemFailuresExceeded", _S, errors.RuntimeSystemError),
    ],
)
def test_what_the_sdk_makes_of_a_code(code: str, blame: Blame, kind: type[Exception]) -> None:
    told = execution_pb2.ExecutionError(code=code, message="m", kind=_KINDS[blame])
    assert isinstance(convert_error_to_native(told), kind)
