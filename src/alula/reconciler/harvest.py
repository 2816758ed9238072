"""What an attempt left in its output prefix."""

from alula.blobs.store import Blobs
from alula.core.action import Action, Failure
from alula.core.errors import Exhausted, Invalid, NotFound
from alula.core.verdict import Written
from alula.wire.actions import written_error


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
