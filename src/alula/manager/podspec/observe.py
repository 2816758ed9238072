"""What a pod tells of its attempt: how far it is, and how it ended (executor.md 5.8, 8.2, 8.4)."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from alula.core import copilot as raw
from alula.core.taskaction import Cause, Pod, Stage, State
from alula.kube.objects import Object
from alula.manager.plugins.base import Seen
from alula.manager.podspec.advice import advised
from alula.manager.podspec.copilot import DOWNLOAD, UPLOAD
from alula.manager.podspec.pending import Finding, pending
from alula.manager.podspec.settings import PodSettings
from alula.manager.podspec.statuses import End, Part, Reading, read

OUT_OF_MEMORY, TOO_MUCH_DISK = "OOMKilled", "EphemeralStorageExceeded"
INTERRUPTED, DELETED = "Interrupted", "ResourceDeletedExternally"

_UNSEEN = "ContainerStatusUnknown"  # its node was away; the exit code is made up
# Killed, crashed or told to end by a signal; and SIGKILL as some runtimes have it.
_BY_SIGNAL = frozenset({*(128 + number for number in (4, 5, 6, 7, 8, 9, 11, 15)), 247})
_CANNOT_START = frozenset({"StartError", "ContainerCannotRun"})
_MARGIN = timedelta(seconds=10)  # for a node to tell that it did what it was told
_LONGEST = 4096  # characters of a container's last words

# A pod's own reasons for which nothing is to blame but its node.
_OF_NODES = frozenset(
    {"Shutdown", "Terminated", "NodeShutdown", "NodeLost", "NodeAffinity", "Evicted", "Preempting", "Preempted"}
)
_OWN_LIMIT = re.compile(r"exceeds the (total )?limit|exceeded its local ephemeral storage limit")


def observe(pod: Object, settings: PodSettings, now: datetime, primary: str = "") -> Seen:
    """What is to be seen of a pod. ``primary``: the container that decides, if the pod does not name it itself."""
    seen = read(pod, primary)
    found = _found(seen, settings, now)
    cause = advised(found.cause) if found.cause is not None else None
    main, begun = seen.main, [part.end.started_at if part.end else part.running_since for part in seen.parts]
    ends = [part.end.ended_at for part in _deciding(seen) if part.end and part.end.ended_at]
    started = (main.end.started_at if main.end else main.running_since) if main else None
    state = State(
        stage=found.stage,
        reason=cause.message if cause is not None else found.reason,
        cause=cause,
        started_at=started or (min(filter(None, begun), default=None) if found.stage.over else None),
        ended_at=(max(ends, default=None) or (now if found.cause else None)) if found.stage.over else None,
        exit_code=_exit_code(seen, found),
        pods=(Pod(seen.name, seen.namespace, seen.containers(), seen.primary if main else ""),),
    )
    return Seen(state, None if found.stage.over else found.look_again)


def _found(seen: Reading, settings: PodSettings, now: datetime) -> Finding:
    main = seen.main
    if main is None:
        text = f"the pod has no container named {seen.primary!r}"
        return _failed(Cause("PrimaryContainerNotFound", text, recoverable=False))
    if seen.phase == "Failed":
        return _failed_pod(seen, main)
    if main.end is not None:
        return _ended(seen, main, main.end)
    if seen.phase == "Succeeded":
        return Finding(Stage.SUCCEEDED)
    if seen.deleted_at is not None:
        return _leaving(seen, main, seen.deleted_at, now)
    if main.running or (seen.phase == "Running" and main.waiting is None):
        return Finding(Stage.RUNNING, _about_to_end(seen))
    if seen.phase == "Unknown":
        return Finding(Stage.RUNNING, "its node does not answer")
    return pending(seen, main, settings, now)


def _exit_code(seen: Reading, found: Finding) -> int | None:
    """The primary container's, if somebody saw its end, and that decided and not what was done to the pod."""
    if not found.stage.over or seen.main is None or seen.main.end is None or seen.main.end.reason == _UNSEEN:
        return None
    return None if found.cause is not None and found.cause == _done_to(seen) else seen.main.end.code


def _about_to_end(seen: Reading) -> str:
    """That the cluster is going to end a pod: once it is gone it tells no more."""
    found = seen.holds("DisruptionTarget")
    return "" if found is None else f"the cluster is about to end the pod ({_disruption(found)})"


def _disruption(found: Mapping[str, Any]) -> str:
    return ": ".join(filter(None, (found.get("reason"), found.get("message"))))


def _failed(cause: Cause) -> Finding:
    return Finding(Stage.FAILED, cause.message, cause)


def _failed_pod(seen: Reading, main: Part) -> Finding:
    """A pod that its kubelet calls failed. What was done to the pod goes before what became of its containers."""
    if main.end is not None and _ran_out(main.end):
        return _failed(_cause(main, main.end))
    if (done := _done_to(seen)) is not None:
        return _failed(done)
    for part in seen.parts:
        if part.init and not part.sidecar and part.end is not None and part.end.code != 0:
            return _failed(_copilots(part, part.end) if part.name == DOWNLOAD else _cause(part, part.end))
    if main.end is not None:
        return _ended(seen, main, main.end)
    return _failed(_interrupted(f"the pod failed before its container {main.name} ran", seen))


def _done_to(seen: Reading) -> Cause | None:
    """What ended a pod, other than itself."""
    if seen.reason == "Evicted" and _OWN_LIMIT.search(seen.message):
        return Cause(TOO_MUCH_DISK, seen.message.strip())
    if seen.reason == "DeadlineExceeded":
        return Cause("DeadlineExceeded", seen.message or "the pod was active for longer than its spec allows")
    if seen.reason in _OF_NODES:
        return _interrupted("the pod was ended by its node or for another", seen)
    if (disrupted := seen.holds("DisruptionTarget")) is not None:
        return _interrupted(f"the pod was ended by the cluster ({_disruption(disrupted)})", seen)
    return None


def _ended(seen: Reading, main: Part, end: End) -> Finding:
    """The primary container is over: it decides, together with who collects its outputs."""
    upload = seen.part(UPLOAD)
    if upload is not None and upload.end is None and seen.phase not in ("Failed", "Succeeded"):
        return Finding(Stage.RUNNING, "its outputs are being collected")
    if end.code != 0 or _ran_out(end):
        return _failed(_deleted(seen, end) or _with_others(seen, main, _cause(main, end)))
    if upload is not None and upload.end is None:
        return _failed(_interrupted("the pod ended before its outputs were collected", seen))
    if upload is not None and upload.end is not None and upload.end.code != 0:
        return _failed(_copilots(upload, upload.end))
    for part in seen.parts:
        if part.init and not part.sidecar and part.end is not None and _ran_out(part.end):
            return _failed(_cause(part, part.end))
    return Finding(Stage.SUCCEEDED)


def _deleted(seen: Reading, end: End) -> Cause | None:
    """Why a container ended that was told to, because its pod was deleted."""
    if seen.deleted_at is None or end.ended_at is None or _ran_out(end):
        return None
    if end.ended_at < seen.deleted_at - timedelta(seconds=seen.deletion_grace):
        return None
    if (done := _done_to(seen)) is not None:
        return done
    return Cause(DELETED, f"the pod was deleted while it ran, and not by alula; {_told(seen)}", system=True)


def _leaving(seen: Reading, main: Part, deleted_at: datetime, now: datetime) -> Finding:
    """Somebody else deleted it. Its node has some time to say how it ended; a lost node never does."""
    until = deleted_at + _MARGIN
    if now < until:
        stage = Stage.RUNNING if main.running else Stage.INITIALIZING
        return Finding(stage, _about_to_end(seen) or "the pod was deleted, and not by alula", look_again=until)
    if (done := _done_to(seen)) is not None:
        return _failed(done)
    text = f"the pod was deleted, and not by alula, and its node does not say how it ended; {_told(seen)}"
    return _failed(Cause(DELETED, text, system=True))


def _cause(part: Part, end: End) -> Cause:
    """Why a container failed, by how it ended."""
    text = _text(part, end)
    if _ran_out(end):
        return Cause(OUT_OF_MEMORY, text)
    if end.code in _BY_SIGNAL:
        return Cause(INTERRUPTED, text, system=True)
    return Cause("ContainerCannotStart" if end.reason in _CANNOT_START else "ContainerFailed", text)


def _with_others(seen: Reading, main: Part, cause: Cause) -> Cause:
    """What may have been the reason of a failure: another container ran out of memory."""
    dead = [part.name for part in seen.parts if part is not main and any(map(_ran_out, filter(None, part.ends)))]
    if not dead or cause.code == OUT_OF_MEMORY:
        return cause
    return replace(cause, message=f"{cause.message}\nBeside it {', '.join(dead)} ran out of memory: give it more")


def _copilots(part: Part, end: End) -> Cause:
    """Why inputs could not be laid out, or outputs not be collected. The copilot's last words are ``Code: text``."""
    if end.code != raw.REFUSED:
        if _ran_out(end):
            return Cause(INTERRUPTED, _text(part, end), system=True)
        return Cause("DownloadFailed" if part.name == DOWNLOAD else "UploadFailed", _text(part, end), system=True)
    code, _, text = end.message.partition(": ")
    return Cause(code, text[:_LONGEST], recoverable=part.name == UPLOAD)


def _ran_out(end: End) -> bool:
    """``OOM-killed``: before its program was even started."""
    return OUT_OF_MEMORY in end.reason or (end.reason in _CANNOT_START and "OOM-killed" in end.message)


def _text(part: Part, end: End) -> str:
    reason = f" ({end.reason})" if end.reason and end.reason != "Error" else ""
    said = f"; its last words:\n{end.message[-_LONGEST:]}" if end.message else ""
    return f"the container {part.name} ended with exit code {end.code}{reason}{said}"


def _interrupted(what: str, seen: Reading) -> Cause:
    return Cause(INTERRUPTED, f"{what}; {_told(seen)}", system=True)


def _told(seen: Reading) -> str:
    """What the pod says of itself, and how its containers ended."""
    said = f"{seen.reason}: {seen.message}" if seen.message else seen.reason or "the cluster gave no reason"
    ends = [_text(part, part.end) for part in seen.parts if part.end is not None and part.end.code != 0]
    return "; ".join([said, *ends])


def _deciding(seen: Reading) -> Iterator[Part]:
    """The containers whose end is the attempt's."""
    for part in seen.parts:
        if part.name in (seen.primary, UPLOAD) or (part.init and not part.sidecar and part.end and part.end.code):
            yield part
