"""What attempts left in their output prefixes."""

from collections import deque
from dataclasses import replace

from alula.blobs.store import Blobs
from alula.core.action import Action, Failure
from alula.core.errors import Exhausted, Invalid, LaunchRefused, NotFound
from alula.core.launch import Launch, Originator
from alula.core.verdict import Written
from alula.executors.base import Logs
from alula.wire.actions import output_prefix, written_error
from alula.wire.launches import CHECKPOINT
from alula.wire.taskactions import filled, names_inputs

_LOOKS = 20  # attempts
_LINES, _LONGEST = 80, 2048  # bytes: the end of a log, as executors tell it of an attempt that ended by itself


async def checkpoint(blobs: Blobs, action: Action) -> int:
    """The attempt whose checkpoint the current one goes on from; 0: there was none before it.

    The last one that left a checkpoint: one that was interrupted before it could does not take that away.
    """
    last = action.attempt - 1
    for attempt in range(last, max(0, last - _LOOKS), -1) if last > 1 else ():
        try:
            if await blobs.exists(f"{output_prefix(action.base_uri, action.id.name, attempt)}/{CHECKPOINT}"):
                return attempt
        except Invalid:  # kept elsewhere
            break
    return last


async def harvest(blobs: Blobs, action: Action) -> Written:
    """Look for the attempt's error, outputs and report. The prefix is this attempt's own: nothing there is older."""
    prefix = action.output_uri
    try:
        error = written_error(await blobs.get(f"{prefix}/error.pb"))
    except NotFound:
        error = None
    except (Invalid, Exhausted) as refusal:  # a prefix elsewhere, or something too large: it will not get better
        return Written(Failure("UnreadableError", str(refusal), recoverable=False))
    return Written(
        error=error,
        outputs=await blobs.exists(f"{prefix}/outputs.pb"),
        report=action.policy.report and await blobs.exists(f"{prefix}/report.html"),
    )


async def with_inputs(blobs: Blobs, ready: Launch) -> Launch:
    """A launch for a cluster with its inputs in its commands, where those name any.

    Raises:
        LaunchRefused: they name what is not there.
    """
    request = ready.request
    if request is None or not names_inputs(request):
        return ready
    try:
        body = await blobs.get(request.input_uri) if request.input_uri else b""
    except NotFound:
        raise LaunchRefused(f"its inputs are not there: {request.input_uri}", code="InputsNotFound") from None
    return replace(ready, request=filled(request, body))


async def tail(logs: Logs, name: str) -> str:
    """The last lines of what an attempt printed, which is over."""
    last: deque[str] = deque(maxlen=_LINES)
    async for lines in logs.logs(name, follow=False):
        last.extend(line.text for line in lines if line.originator is Originator.USER)
    return "".join(last).encode()[-_LONGEST:].decode(errors="replace")
