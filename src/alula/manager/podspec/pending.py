"""A pod whose primary container has not started: what it waits for, and whether that is in vain (executor.md 5.8)."""

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from alula.core.taskaction import Cause, Stage
from alula.manager.podspec.copilot import DOWNLOAD, UPLOAD
from alula.manager.podspec.settings import PodSettings
from alula.manager.podspec.statuses import Part, Reading, instant

_LIMITED = re.compile(r"429 Too Many Requests|toomanyrequests", re.IGNORECASE)
_MISSING = re.compile(r"not found|couldn't find key|non-existent", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a pod's status comes to. ``look_again``: when the clock alone changes that."""

    stage: Stage
    reason: str = ""
    cause: Cause | None = None
    look_again: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Trouble:
    """What a reason to wait means, if it stays for ``grace``."""

    grace: timedelta
    system: bool = False
    recoverable: bool = True
    code: str = ""


def pending(seen: Reading, main: Part, settings: PodSettings, now: datetime) -> Finding:
    """What a pod waits for.

    Init containers go before the primary one: it waits for them. What other containers wait for keeps nobody.
    """
    found = _waits(seen, main, settings, now)
    if settings.pending_timeout is None or seen.created_at is None or found.stage.over:
        return found
    until = seen.created_at + settings.pending_timeout
    if now >= until:
        text = f"the pod did not start within {settings.pending_timeout}: {found.reason}"
        return Finding(Stage.FAILED, text, Cause("PodPendingTimeout", text, system=True))
    return Finding(found.stage, found.reason, look_again=min(until, found.look_again or until))


def _waits(seen: Reading, main: Part, settings: PodSettings, now: datetime) -> Finding:
    unplaced = seen.holds("PodScheduled", "False")
    if unplaced is not None:
        stage = Stage.WAITING if unplaced.get("reason") == "Unschedulable" else Stage.QUEUED
        return Finding(stage, unplaced.get("message") or unplaced.get("reason") or "")
    for part in seen.parts:
        if part.waiting is None or not (part.init or part is main):
            continue
        trouble = _trouble(part, settings)
        if trouble is not None:
            return _troubled(part, trouble, _since(seen, part), now)
    return _in_time(seen, main, settings.creating_timeout, now)


def _in_time(seen: Reading, main: Part, patience: timedelta | None, now: datetime) -> Finding:
    """Nothing is wrong, as far as the kubelet says; but of a missing volume it never says more."""
    found = _starts(seen, main)
    part = next((one for one in seen.parts if (one.init or one is main) and not (one.running or one.end)), None)
    busy = any(one.running for one in seen.parts if one.init and not one.sidecar)
    if patience is None or part is None or busy or seen.holds("PodScheduled") is None:
        return found
    since = _since(seen, part)
    if since is None or now < since + patience:
        return replace(found, look_again=since + patience if since else None)
    text = f"the container {part.name} was not created within {patience}: {found.reason}"
    return Finding(Stage.FAILED, text, Cause("ContainersNotReady|ContainerCreating", text, system=True))


def _starts(seen: Reading, main: Part) -> Finding:
    """Nothing is wrong."""
    running = [part.name for part in seen.parts if part.init and not part.sidecar and part.running]
    if running:
        return Finding(Stage.INITIALIZING, f"init container {running[0]} is running")
    if seen.holds("PodScheduled") or main.waiting is not None:
        return Finding(Stage.INITIALIZING, main.message or main.waiting or "its containers are being created")
    return Finding(Stage.QUEUED, "it has no node yet")


def _trouble(part: Part, settings: PodSettings) -> _Trouble | None:
    """What a reason to wait means; ``None``: it is the usual course of things."""
    pull, create = settings.image_pull_grace, settings.create_container_grace
    ours = part.name in (DOWNLOAD, UPLOAD)
    match part.waiting:
        case None | "" | "ContainerCreating" | "PodInitializing":
            return None
        case "ErrImagePull" | "ImagePullBackOff":
            return _Trouble(pull, system=bool(_LIMITED.search(part.message)), code="ImagePullBackOff")
        case "RegistryUnavailable":
            return _Trouble(pull, system=True)
        case "ErrImageNeverPull" | "ImageInspectError" | "SignatureValidationFailed":
            return _Trouble(pull)
        case "InvalidImageName":
            return _Trouble(timedelta(), recoverable=False)
        case "CreateContainerConfigError":  # its Secrets and ConfigMaps may be late, and are never if there are none
            return _Trouble(timedelta() if _MISSING.search(part.message) else create, recoverable=False)
        case "CreateContainerError":
            return _Trouble(create, recoverable=False)
        case "CrashLoopBackOff":  # a sidecar: all others are never started again
            return _Trouble(create, system=ours)
        case _:
            return _Trouble(create, system=True)


def _troubled(part: Part, trouble: _Trouble, since: datetime | None, now: datetime) -> Finding:
    said = ": ".join(filter(None, (part.waiting, part.message)))
    if part.before is not None:
        said += f"; it ended with exit code {part.before.code}: {part.before.message}"
    until = (since or now) + trouble.grace
    if now < until:
        return Finding(Stage.INITIALIZING, said, look_again=until)
    text = f"the container {part.name} cannot start: {said}"
    if trouble.grace:
        text += f" (for more than {trouble.grace})"
    code = f"ContainersNotReady|{trouble.code or part.waiting}"
    return Finding(Stage.FAILED, text, Cause(code, text, system=trouble.system, recoverable=trouble.recoverable))


def _since(seen: Reading, part: Part) -> datetime | None:
    """Since when a container could have been started: it had a node, and those before it were done."""
    times = [_time(seen, "PodScheduled"), _time(seen, "PodReadyToStartContainers"), seen.created_at]
    before: list[datetime | None] = []
    for other in seen.parts:
        if other is part:
            break
        if other.init:
            before.append(other.end.ended_at if other.end else other.running_since)
    return max(filter(None, [*times, *before]), default=None)


def _time(seen: Reading, condition: str) -> datetime | None:
    found = seen.holds(condition)
    return instant(found.get("lastTransitionTime")) if found is not None else None
