"""What the Manager sees of its cluster: mirrors of TaskActions, and of everything that plugins make of them."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from alula.core.naming import attempt_label
from alula.core.taskaction import ATTEMPT, GROUP, KIND, MANAGED, PLURAL, VERSION
from alula.kube.client import Kube
from alula.kube.mirror import Mirror
from alula.kube.objects import POD_TEMPLATES, PODS, Kind, Name, Object, Selection, labels_of, name_of, owner_of
from alula.manager.plugins.base import Plugin, Seen
from alula.manager.sayings import Sayings, pods_of

ACTIONS = Kind(GROUP, VERSION, KIND, PLURAL)
_ATTEMPT, _NAMESPACE = "attempt", "namespace"  # the indexes
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_OF_CONTAINERS = ("name", "restartPolicy")  # what is looked at again once a pod is made
_OF_PODS = ("nodeName", "restartPolicy")

Told = Callable[[Name], None]


class World:
    """Mirrors, and who belongs to whom in them. Run `run` beside those who look. ``namespace`` "" is all of them."""

    def __init__(self, kube: Kube, namespace: str, plugins: Iterable[Plugin], dice: Callable[[], float]) -> None:
        self._sayings = Sayings(kube, namespace, dice)
        kinds = dict.fromkeys(kind for plugin in plugins for kind in (plugin.kind, *plugin.parts))
        by_attempt = {_ATTEMPT: _attempts}
        self.actions = Mirror(
            kube,
            Selection(ACTIONS, namespace),
            dice=dice,
            slim=_slim,
            indexes={_ATTEMPT: lambda found: [attempt_label(found["metadata"]["name"])]},
        )
        self._templates = Mirror(
            kube, Selection(POD_TEMPLATES, namespace), dice=dice, slim=_slim, indexes={_NAMESPACE: _namespaces}
        )
        self._objects = {
            kind: Mirror(
                kube,
                Selection(kind, namespace, f"{MANAGED}=true"),
                dice=dice,
                slim=_slim_pod if kind == PODS else _slim,
                indexes=by_attempt,
                spare=kind != PODS,
            )
            for kind in kinds
        }

    async def run(self, told: Told) -> None:
        """Follow the cluster until it is cancelled. ``told`` hears which TaskAction is to be looked at."""
        self.actions.subscribe(lambda name, _old, _new: told(name))
        for mirror in self._objects.values():
            mirror.subscribe(lambda _name, old, new: self._tell(new or old, told))
        async with asyncio.TaskGroup() as tasks:
            for mirror in self._mirrors():
                tasks.create_task(mirror.run())
                tasks.create_task(self._welcome(mirror, told))
            tasks.create_task(self._sayings.run(lambda pod: self._tell_of(pod, told)))

    def action(self, name: Name) -> Object | None:
        """A TaskAction, if there is one."""
        return self.actions.get(name)

    def ready(self, plugin: Plugin) -> bool:
        """Whether all that there is of a plugin's is seen."""
        kinds = (plugin.kind, *plugin.parts)
        return self._templates.ready.is_set() and all(self._objects[kind].ready.is_set() for kind in kinds)

    async def synced(self) -> None:
        """Return once all that there is is seen."""
        for mirror in self._mirrors():
            await mirror.ready.wait()

    def late(self) -> list[str]:
        """The kinds that are not yet seen."""
        return [mirror.which.kind.plural for mirror in self._mirrors() if not mirror.ready.is_set()]

    def found(self, kind: Kind, action: Object) -> Object | None:
        """The object of an attempt; one that a TaskAction of its name before it has left, if there is no other."""
        meta = action["metadata"]
        there = [one for one in self._of(kind, name_of(action)) if _made_for(one) == meta["name"]]
        return next((one for one in there if owner_of(one) == meta["uid"]), there[0] if there else None)

    def parts(self, plugin: Plugin, action: Object) -> Sequence[Object]:
        """What the object of an attempt is made of."""
        return [one for kind in plugin.parts for one in self._of(kind, name_of(action))]

    def told(self, seen: Seen, found: Object, parts: Sequence[Object]) -> Seen:
        """What is seen of an attempt, with what the cluster has said of its pods."""
        return self._sayings.added(seen, pods_of([found, *parts]))

    def made(self, name: Name) -> Iterator[tuple[Kind, Object]]:
        """All objects that were made for TaskActions of this name."""
        for kind in self._objects:
            for one in self._of(kind, name):
                if _made_for(one) == name.name:
                    yield kind, one

    def templates(self, namespace: str) -> Mapping[str, Object]:
        """The PodTemplates of a namespace."""
        return {one["metadata"]["name"]: one for one in self._templates.under(_NAMESPACE, namespace)}

    def put(self, kind: Kind, found: Object) -> None:
        """What a write, or a read, has returned. Who did that looks at it: nobody else is told."""
        (self.actions if kind == ACTIONS else self._objects[kind]).put(found, quietly=True)

    def names(self) -> Iterator[Name]:
        """Every TaskAction, and those of which there is only an object left."""
        yield from [name_of(action) for action in self.actions.values()]
        for mirror in self._objects.values():
            for one in list(mirror.values()):
                if (name := self._name(one)) is not None and self.actions.get(name) is None:
                    yield name

    def _mirrors(self) -> list[Mirror]:
        return [self.actions, self._templates, *self._objects.values()]

    def _of(self, kind: Kind, name: Name) -> list[Object]:
        there = self._objects[kind].under(_ATTEMPT, attempt_label(name.name))
        return [one for one in there if one["metadata"].get("namespace", "") == name.namespace]

    async def _welcome(self, mirror: Mirror, told: Told) -> None:
        """What could not be judged before is looked at once a kind is seen."""
        await mirror.ready.wait()
        for name in list(self.names()):
            told(name)

    def _tell(self, found: Object | None, told: Told) -> None:
        if found is not None and (name := self._name(found)) is not None:
            told(name)

    def _tell_of(self, pod: Name, told: Told) -> None:
        mirror = self._objects.get(PODS)
        self._tell(None if mirror is None else mirror.get(pod), told)

    def _name(self, found: Object) -> Name | None:
        """The TaskAction that an object, or a part of one, belongs to."""
        namespace = found["metadata"].get("namespace", "")
        for action in self.actions.under(_ATTEMPT, labels_of(found).get(ATTEMPT, "")):
            if action["metadata"].get("namespace", "") == namespace:
                return name_of(action)
        made_for = _made_for(found)
        return Name(namespace, made_for) if made_for else None


def _made_for(found: Object) -> str:
    """The name of the TaskAction that an object was made for, "" if it was made for none."""
    for owner in found["metadata"].get("ownerReferences") or ():
        if owner.get("controller") and owner["kind"] == KIND and owner["apiVersion"].startswith(f"{GROUP}/"):
            name: str = owner["name"]
            return name
    return ""


def _attempts(found: Object) -> Iterable[str]:
    label = labels_of(found).get(ATTEMPT)
    return [label] if label else []


def _namespaces(found: Object) -> Iterable[str]:
    return [found["metadata"].get("namespace", "")]


def _slim(found: Object) -> Object:
    """An object without what nobody looks at, which is half of it."""
    meta = {key: value for key, value in found["metadata"].items() if key != "managedFields"}
    if _LAST_APPLIED in (meta.get("annotations") or {}):
        meta["annotations"] = {key: value for key, value in meta["annotations"].items() if key != _LAST_APPLIED}
    return {**found, "metadata": meta}


def _slim_pod(pod: Object) -> Object:
    """A pod without what it was made from: only how it is doing is looked at."""
    spec = pod.get("spec") or {}
    kept = {key: spec[key] for key in _OF_PODS if key in spec}
    for group in ("containers", "initContainers"):
        kept[group] = [{key: one[key] for key in _OF_CONTAINERS if key in one} for one in spec.get(group) or ()]
    return _slim({**pod, "spec": kept})
