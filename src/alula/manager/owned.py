"""What every object of an attempt bears, whichever plugin builds it."""

from collections.abc import Mapping

from alula.core.taskaction import GROUP, KIND, SHARD, VERSION
from alula.kube.objects import Object, labels_of


def owned(built: Object, action: Object, labels: Mapping[str, str]) -> Object:
    """A built object as it is created for a TaskAction: its owner, its namespace, its labels; its name, if it has none.

    ``labels`` are those of the attempt.

    With the owner go what it owns: the cluster sees to that too.
    """
    meta, made = action["metadata"], built.get("metadata") or {}
    shard = {SHARD: labels_of(action)[SHARD]} if SHARD in labels_of(action) else {}
    owner = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    stamped = {
        **made,
        "name": made.get("name") or meta["name"],
        "labels": {**(made.get("labels") or {}), **labels, **shard},
        "ownerReferences": [owner],
    }
    if meta.get("namespace"):
        stamped["namespace"] = meta["namespace"]
    return {**built, "metadata": stamped}
