"""The custom resources of Flyte, as they are installed in a cluster."""

from importlib import resources

import yaml

from alula.kube.client import Kube
from alula.kube.objects import CRDS, Object, Selection, version_of

_MANAGER = "alula-crd"  # who says so, in server-side apply


def text() -> str:
    """The manifest of `taskactions.flyte.org`."""
    return resources.files(__name__).joinpath("taskactions.yaml").read_text()


def taskactions() -> Object:
    """The same as an object."""
    found: Object = yaml.safe_load(text())
    return found


async def install(kube: Kube) -> None:
    """Have a cluster know TaskActions, and wait until it serves them.

    Raises:
        KubeError: it is not allowed, or the cluster does not answer.
    """
    wanted = taskactions()
    found = await kube.apply(CRDS, wanted, _MANAGER)
    name = wanted["metadata"]["name"]
    while not _established(found):
        async for _, one in kube.watch(Selection(CRDS), version_of(found)):
            if one["metadata"].get("name") == name and _established(one):
                return


def _established(found: Object) -> bool:
    conditions = found.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
