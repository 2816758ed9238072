"""What is started for tasks that only sleep: their inputs say how long."""

from alula.blobs.store import Blobs
from alula.core.action import Action
from alula.core.errors import Exhausted, Invalid, LaunchRefused, NotFound
from alula.core.launch import Launch
from alula.wire import sleeps


async def awake_or_asleep(blobs: Blobs, action: Action, spec: bytes, ready: Launch) -> Launch:
    """The launch as it is, or one that sleeps, if its task does nothing else.

    Raises:
        LaunchRefused: nobody can say for how long.
    """
    if not sleeps.only(spec):
        return ready
    try:
        inputs = await blobs.get(action.input_uri)
    except (NotFound, Invalid, Exhausted) as refusal:
        raise LaunchRefused(f"the inputs of a task that sleeps cannot be read: {refusal}") from None
    return sleeps.asleep(ready, spec, inputs)
