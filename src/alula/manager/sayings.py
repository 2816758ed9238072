"""What the cluster says of pods (Kubernetes Events): why there is no node, no volume, no network, what was preempted.

One watch of a namespace, of what is not the usual course of things; what is heard is kept as text, not as objects.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from alula.core.taskaction import Cause
from alula.core.taskstatus import cut
from alula.kube.client import Kube
from alula.kube.mirror import Mirror
from alula.kube.objects import EVENTS, Name, Object, Selection
from alula.manager.plugins.base import Seen
from alula.manager.podspec.advice import NOT_READY

# Chosen by the server. A pod that starts and ends well makes only such events, which nobody needs to be told.
_USUAL = ("Scheduled", "Pulling", "Pulled", "Created", "Started", "Killing")
_FIELDS = ",".join(["involvedObject.kind=Pod", *(f"reason!={one}" for one in _USUAL)])
_MOST = 20  # different sayings of one pod
_PODS = 20_000  # of which sayings are remembered
_LONGEST = 500  # bytes
_EMPTY = re.compile(r"Failed: Error: \w+")  # beside one that says more
_VARYING = re.compile(r"[0-9a-f]{8,}|\d+|\s+")  # names, counts, times: what makes two sayings look different


class Sayings:
    """Run `run` beside those who ask. ``told`` hears of which pod there is something new."""

    def __init__(self, kube: Kube, namespace: str, dice: Callable[[], float]) -> None:
        self._mirror = Mirror(kube, Selection(EVENTS, namespace, fields=_FIELDS), dice=dice, slim=_slim)
        self._said: OrderedDict[str, dict[str, str]] = OrderedDict()  # by the uid of a pod

    async def run(self, told: Callable[[Name], None]) -> None:
        """Follow the cluster until it is cancelled."""
        self._mirror.subscribe(lambda _name, _old, new: self._hear(new, told))
        await self._mirror.run()

    def added(self, seen: Seen, pods: Iterable[Object]) -> Seen:
        """What is seen of an attempt, with what was said of its pods. What it says itself is not said twice."""
        notes = list(seen.state.notes)
        several = len(seen.state.pods) > 1
        for pod in pods:
            prefix = f"{pod['metadata']['name']}: " if several else ""
            notes += [prefix + text for text in self._of(pod) if not _repeats(text, seen)]
        new = notes[len(seen.state.notes) :]
        if not new:
            return seen
        state = replace(seen.state, notes=tuple(notes), cause=_explained(seen.state.cause, new))
        return replace(seen, state=state)

    def _of(self, pod: Object) -> Sequence[str]:
        return list(self._said.get(pod["metadata"].get("uid", ""), {}).values())

    def _hear(self, event: Object | None, told: Callable[[Name], None]) -> None:
        if event is None:
            return
        self._mirror.drop(event)
        if _EMPTY.fullmatch(event["text"]):
            return
        about = event["about"]
        said = self._said.setdefault(about["uid"], {})
        self._said.move_to_end(about["uid"])
        if len(self._said) > _PODS:
            self._said.popitem(last=False)
        text, key = event["text"], _VARYING.sub(" ", event["text"])
        if key not in said and len(said) < _MOST:
            said[key] = text
            told(Name(about["namespace"], about["name"]))


def pods_of(objects: Iterable[Object]) -> list[Object]:
    """Those that are pods. What comes from a list does not say its kind; but nothing else has containers."""
    return [one for one in objects if "containers" in (one.get("spec") or {})]


def _slim(event: Object) -> Object:
    meta, about = event["metadata"], event.get("involvedObject") or {}
    text = ": ".join(filter(None, (event.get("reason"), " ".join((event.get("message") or "").split()))))
    return {
        "metadata": {key: meta[key] for key in ("namespace", "name", "uid", "resourceVersion") if key in meta},
        "about": {key: about.get(key, "") for key in ("namespace", "name", "uid")},
        "text": cut(text, _LONGEST),
    }


def _explained(cause: Cause | None, said: Sequence[str]) -> Cause | None:
    """Why a pod did not start, with what was last said of it: its own status names no missing volume or Secret."""
    if cause is None or not cause.code.startswith(NOT_READY):
        return cause
    return replace(cause, message=f"{cause.message}\nThe cluster says: {said[-1]}")


def _repeats(text: str, seen: Seen) -> bool:
    """A pod's own condition says why it has no node, in the same words."""
    _, _, message = text.partition(": ")
    return bool(message) and message in " ".join(seen.state.reason.split())
