"""What a cluster does with what it is asked to write: rules of creation, change and deletion."""

import random
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from alula.kube.objects import CRDS, NAMESPACES, PODS, Kind, Name, Object
from tests.kube.apiserver.patches import applied, leaves, merged
from tests.kube.apiserver.refusals import Refusal, invalid
from tests.kube.apiserver.schemas import Schema, check_names, check_pod, pod_with_defaults
from tests.kube.apiserver.storage import Shelf, Storage

_KEPT = ("name", "namespace", "uid", "creationTimestamp", "generation", "deletionTimestamp", "generateName")
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_FINALIZERS = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}
_FREE = ("containers", "initContainers", "activeDeadlineSeconds", "tolerations", "nodeName")  # what may change in a pod


class Writes:
    """``created``: how often an object of a kind's plural and name was created, also one that is gone."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._dice = random.Random(0)
        self.created: dict[tuple[str, str, str], int] = {}
        for name in ("default", "flyte", "kube-system"):
            self.create(storage.of(NAMESPACES), "", {"metadata": {"name": name}})

    def create(self, shelf: Shelf, namespace: str, value: Object) -> Object:
        meta = dict(value.get("metadata") or {})
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = meta["generateName"] + "".join(self._dice.choices(_LETTERS, k=5))
        name = Name(namespace, meta.get("name") or "")
        self._check_place(shelf, namespace, meta, name)
        if meta.get("resourceVersion"):
            raise Refusal(400, "resourceVersion should not be set on objects to be created")
        meta |= {"uid": str(uuid.UUID(int=self._dice.getrandbits(128), version=4)), "creationTimestamp": _now()}
        meta |= {"generation": 1} | ({"namespace": namespace} if namespace else {})
        meta.pop("deletionTimestamp", None)
        new = _completed(shelf, {**value, "metadata": meta})
        check_names(shelf.kind.kind, new)
        if name in shelf.objects:
            raise Refusal(409, f'{shelf.kind.plural} "{name.name}" already exists', "AlreadyExists")
        if shelf.has_status and shelf.kind != PODS:
            new.pop("status", None)
        _check(shelf, new)
        if shelf.kind == CRDS:
            new["status"] = self._install(new)
        key = (shelf.kind.plural, *name)
        self.created[key] = self.created.get(key, 0) + 1
        return self._storage.write(shelf, name, new)

    def replace(self, shelf: Shelf, name: Name, value: Object, *, status: bool) -> Object:
        old = shelf.get(name)
        meta = value.get("metadata") or {}
        if meta.get("name") != name.name:
            raise Refusal(400, "the name of the object does not match the name on the URL")
        if not meta.get("resourceVersion") and shelf.schema is not None:
            raise invalid(shelf.kind.kind, name.name, "metadata.resourceVersion", "must be specified for an update")
        return self._change(shelf, old, value, status=status)

    def patch(self, shelf: Shelf, name: Name, change: Mapping[str, Any], *, status: bool) -> Object:
        old = shelf.get(name)
        return self._change(shelf, old, merged(old, change), status=status)

    def apply(self, shelf: Shelf, name: Name, change: Object, manager: str) -> Object:
        if not manager:
            raise Refusal(400, "fieldManager is required for apply patch")
        content = {key: value for key, value in change.items() if key not in ("apiVersion", "kind", "metadata")}
        said = (change.get("metadata") or {}).items()
        content["metadata"] = {key: value for key, value in said if key in ("labels", "annotations")}
        before = shelf.applied.get((name, manager), set())
        others = {path for (one, who), had in shelf.applied.items() if one == name and who != manager for path in had}
        if name in shelf.objects:
            new = applied(shelf.get(name), content, before, others)
            new["metadata"] = {**new["metadata"], **{key: value for key, value in said if key == "resourceVersion"}}
            written = self._change(shelf, shelf.get(name), new, status=False)
        else:
            written = self.create(shelf, name.namespace, change)
        shelf.applied[name, manager] = set(leaves(content))
        return written

    def bind(self, shelf: Shelf, name: Name, binding: Object) -> Object:
        """Give a pod its node."""
        old = shelf.get(name)
        if old["spec"].get("nodeName"):
            raise Refusal(409, f'pod "{name.name}" is already assigned to node "{old["spec"]["nodeName"]}"')
        condition = {"type": "PodScheduled", "status": "True", "lastTransitionTime": _now()}
        spec, status = (
            {**old["spec"], "nodeName": binding["target"]["name"]},
            {**old["status"], "conditions": [condition]},
        )
        self._storage.write(shelf, name, {**old, "spec": spec, "status": status})
        return {"kind": "Status", "apiVersion": "v1", "status": "Success", "code": 201}

    def delete(self, shelf: Shelf, name: Name, options: Object) -> Object:
        old = shelf.get(name)
        meta, wanted = old["metadata"], options.get("preconditions") or {}
        for key in ("uid", "resourceVersion"):
            if wanted.get(key) and wanted[key] != meta[key]:
                raise Refusal(409, f"Precondition failed: {key} in precondition: {wanted[key]}, in object: {meta[key]}")
        grace = _grace(shelf.kind, old, options)
        finalizers = list(meta.get("finalizers") or [])
        extra = _FINALIZERS.get(options.get("propagationPolicy", ""))
        if extra and extra not in finalizers and "deletionTimestamp" not in meta:
            finalizers.append(extra)
        if not finalizers and not grace:
            return self._storage.erase(shelf, name, old)
        if "deletionTimestamp" in meta and grace >= meta.get("deletionGracePeriodSeconds", 0):
            return old
        ends = datetime.now(UTC) + timedelta(seconds=grace)
        new = {**meta, "deletionTimestamp": _time(ends), "deletionGracePeriodSeconds": grace, "finalizers": finalizers}
        new["generation"] = meta.get("generation", 1) + 1
        if not finalizers:
            del new["finalizers"]
        return self._storage.write(shelf, name, {**old, "metadata": new})

    def _change(self, shelf: Shelf, old: Object, value: Object, *, status: bool) -> Object:
        kind, meta, said = shelf.kind, old["metadata"], value.get("metadata") or {}
        name = Name(meta.get("namespace", ""), meta["name"])
        if said.get("resourceVersion") not in (None, "", meta["resourceVersion"]):
            text = "the object has been modified; please apply your changes to the latest version and try again"
            raise Refusal(409, f'Operation cannot be fulfilled on {kind.plural} "{name.name}": {text}')
        if said.get("uid") not in (None, "", meta["uid"]):
            raise Refusal(409, f"Precondition failed: UID in precondition: {said['uid']}, in object: {meta['uid']}")
        if status:
            new = {**old, "status": value.get("status") or {}} if value.get("status") else _without(old, "status")
            new = shelf.schema.pruned(new) if shelf.schema else new
        else:
            new = self._whole(shelf, old, value)
        _check(shelf, new)
        if new == old:
            return old
        meta = new["metadata"]
        if "deletionTimestamp" in meta and not meta.get("finalizers") and not meta.get("deletionGracePeriodSeconds"):
            return self._storage.erase(shelf, name, new)
        if kind == CRDS:
            new["status"] = self._install(new)
        return self._storage.write(shelf, name, new)

    def _whole(self, shelf: Shelf, old: Object, value: Object) -> Object:
        """All of an object but what is not for its writers."""
        meta = {**(value.get("metadata") or {})}
        kept = {key: old["metadata"][key] for key in (*_KEPT, "deletionGracePeriodSeconds") if key in old["metadata"]}
        for key in ("deletionTimestamp", "deletionGracePeriodSeconds"):
            meta.pop(key, None)
        new = _completed(
            shelf, {**value, "metadata": {**meta, **kept, "resourceVersion": old["metadata"]["resourceVersion"]}}, old
        )
        for key in ("labels", "annotations", "finalizers", "ownerReferences"):
            if not new["metadata"].get(key):
                new["metadata"].pop(key, None)
        check_names(shelf.kind.kind, new)
        if shelf.has_status:
            new = _without(new, "status") | ({"status": old["status"]} if "status" in old else {})
        if new.get("spec") != old.get("spec"):
            if shelf.kind == PODS:
                _check_pod_change(old, new)
            new["metadata"]["generation"] = old["metadata"].get("generation", 1) + 1
        return new

    def _check_place(self, shelf: Shelf, namespace: str, meta: Object, name: Name) -> None:
        if not name.name:
            raise invalid(shelf.kind.kind, "", "metadata.name", "Required value: name or generateName is required")
        if shelf.kind.namespaced and not namespace:
            raise Refusal(400, "an empty namespace may not be set during creation")
        if meta.get("namespace") not in (None, "", namespace):
            raise Refusal(400, "the namespace of the provided object does not match the namespace sent on the request")
        if namespace and Name("", namespace) not in self._storage.of(NAMESPACES).objects:
            raise Refusal(404, f'namespaces "{namespace}" not found')

    def _install(self, crd: Object) -> Object:
        spec = crd["spec"]
        version = next(one for one in spec["versions"] if one.get("storage"))
        names = spec["names"]
        kind = Kind(spec["group"], version["name"], names["kind"], names["plural"], spec["scope"] == "Namespaced")
        schema = Schema(version["schema"]["openAPIV3Schema"])
        self._storage.install(Shelf(kind, schema, "status" in version.get("subresources", {})))
        established = {"type": "Established", "status": "True", "reason": "InitialNamesAccepted"}
        return {"conditions": [established], "acceptedNames": names, "storedVersions": [version["name"]]}


def _completed(shelf: Shelf, value: Object, old: Object | None = None) -> Object:
    said = (value.get("apiVersion"), value.get("kind"))
    if said not in ((None, None), (shelf.kind.api_version, shelf.kind.kind)):
        raise Refusal(400, f"the API version or kind in the data ({said}) does not match the expected ({shelf.kind})")
    new = {"apiVersion": shelf.kind.api_version, "kind": shelf.kind.kind, **value}
    if shelf.schema is not None:
        return shelf.schema.pruned(new)
    if shelf.kind == PODS and old is None:
        check_pod(new)
        return pod_with_defaults(new)
    if "stringData" in new:
        raise Refusal(400, "this server knows no stringData: use data")
    return new


def _check(shelf: Shelf, value: Object) -> None:
    if shelf.schema is not None:
        shelf.schema.check(shelf.kind.kind, value)


def _check_pod_change(old: Object, new: Object) -> None:
    for key in {*old["spec"], *new["spec"]} - set(_FREE):
        if old["spec"].get(key) != new["spec"].get(key):
            raise invalid("Pod", old["metadata"]["name"], "spec", f"Forbidden: pod updates may not change {key}")


def _grace(kind: Kind, old: Object, options: Object) -> int:
    if kind != PODS:
        return 0
    asked = options.get("gracePeriodSeconds")
    over = (old.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    if over or not old["spec"].get("nodeName"):
        return 0  # no kubelet has anything to end
    return int(old["spec"].get("terminationGracePeriodSeconds", 30) if asked is None else asked)


def _without(value: Object, key: str) -> Object:
    return {one: inner for one, inner in value.items() if one != key}


def _now() -> str:
    return _time(datetime.now(UTC))


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
