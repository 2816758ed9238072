"""The chart's Roles are what is used, and no more: a control plane and a Manager under these rights alone.

On a real API server, which judges by RBAC; the rights that were used are those of the requests that were made.
"""

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from flyteidl2.core import tasks_pb2
from flyteidl2.secret import definition_pb2, payload_pb2
from flyteidl2.secret.secret_connect import SecretServiceClient

from alula.kube.objects import Kind, Name, Selection, version_of
from alula.manager.world import ACTIONS
from tests.kube.apiserver.between import Between, between
from tests.kube.cluster import Cluster, beginning, real_kubeconfig
from tests.kube.real import kubeconfig
from tests.manager.managed import Control, request
from tests.manager.site import Load, Server, managed, prepare, serving, twice, until_nothing_is_left

__all__ = ["real_kubeconfig"]

MANIFESTS = Path(__file__).parents[2] / "deploy" / "manifests" / "alula.yaml"  # what the chart renders, see test_chart
KINDS = {
    "ServiceAccount": Kind("", "v1", "ServiceAccount", "serviceaccounts"),
    "Role": Kind("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    "RoleBinding": Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
}
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
# What no request shows, or only one that comes by chance.
SILENT = {
    ("server", "taskactions", "get"),  # one that its watch has not told of yet, or which is there already
    ("server", "secrets", "delete"),  # what a crash has left is ten minutes old; and it is asked of who makes an owner
    ("manager", "leases", "get"),  # who holds one that another has just taken
    ("manager", "taskactions/finalizers", "update"),  # is asked of who makes objects that block their owner's deletion
}

Right = tuple[str, str, str]  # who, resource, verb


@pytest.fixture
async def cluster(real_kubeconfig: Path, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with beginning(tmp_path, real_kubeconfig) as found:
        yield found


def rules() -> Sequence[Mapping[str, Any]]:
    return [one for one in yaml.safe_load_all(MANIFESTS.read_text()) if one and one["kind"] in KINDS]


def granted() -> set[Right]:
    return {
        (role["metadata"]["name"].removeprefix("alula-"), resource, verb)
        for role in rules()
        if role["kind"] == "Role"
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


async def grant(cluster: Cluster) -> None:
    """Have the accounts and their rights in the test's namespace."""
    for one in rules():
        text = yaml.safe_dump(one).replace("namespace: alula", f"namespace: {cluster.namespace}")
        made = yaml.safe_load(text)
        made["metadata"]["namespace"] = cluster.namespace
        await cluster.kube.create(KINDS[one["kind"]], made)


async def token(cluster: Cluster, account: str) -> str:
    """A token of a service account, as its pods have one."""
    told = yaml.safe_load(cluster.kubeconfig.read_text())
    url, admin = told["clusters"][0]["cluster"]["server"], told["users"][0]["user"]["token"]
    async with httpx.AsyncClient(verify=False, trust_env=False) as http:
        answer = await http.post(
            f"{url}/api/v1/namespaces/{cluster.namespace}/serviceaccounts/{account}/token",
            json={"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
            headers={"authorization": f"Bearer {admin}"},
        )
    return str(answer.json()["status"]["token"])


@asynccontextmanager
async def way(cluster: Cluster, who: str, folder: Path) -> AsyncIterator[tuple[Between, Path]]:
    """The way of one of them to the API server, on which all that it asks is seen; and its kubeconfig."""
    url = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    made = Between(url)
    async with between(made, random.Random(0)) as there:
        yield made, kubeconfig(folder / f"{who}.kubeconfig", there, await token(cluster, f"alula-{who}"))


def used(who: str, made: Between, codes: Sequence[int] = ()) -> set[Right]:
    """The rights that requests took; with ``codes``: of those that were answered so."""
    found = set()
    for method, where, code in made.seen:
        path, _, query = where.partition("?")
        words = path.strip("/").split("/")
        if "namespaces" not in words or (codes and code not in codes):
            continue
        plural, name, part = [*words[words.index("namespaces") + 2 :], "", ""][:3]
        verb = VERBS.get(method) or ("get" if name else "watch" if "watch=true" in query else "list")
        found.add((who, f"{plural}/{part}" if part else plural, verb))
    return found


async def test_rights_are_what_is_used(cluster: Cluster, tmp_path: Path) -> None:
    await prepare(cluster)
    await grant(cluster)
    async with AsyncExitStack() as stack:
        ways = {who: await stack.enter_async_context(way(cluster, who, tmp_path)) for who in ("server", "manager")}
        server = Server(tmp_path, ways["server"][1], cluster.namespace)
        await stack.enter_async_context(serving(server))
        await stack.enter_async_context(managed(ways["manager"][1], cluster.namespace, tmp_path, server.url))
        load = Load(server.url, random.Random(1), "token")
        client = SecretServiceClient(server.url)
        spec = definition_pb2.SecretSpec(string_value="hush")
        await client.create_secret(payload_pb2.CreateSecretRequest(id={"name": "token"}, secret_spec=spec))
        cluster.kubelet.script = load.fate
        await load.run(22, 11)
        await until_nothing_is_left(cluster)
        await job(cluster)
    assert not load.wrong()
    assert not twice(cluster)
    refused = set[Right]().union(*(used(who, made, [401, 403]) for who, (made, _) in ways.items()))
    there = set[Right]().union(*(used(who, made) for who, (made, _) in ways.items()))
    optional = {right for right in refused if right[0] == "manager" and right[2] == "list"}  # of operators' kinds
    assert refused == optional
    assert optional == {("manager", kind, "list") for kind in OPERATORS}
    unused, missing = granted() - SILENT - there, there - refused - granted()
    assert granted() >= SILENT
    assert (unused, missing) == (set(), set())


OPERATORS = {
    "rayjobs", "sparkapplications", "daskjobs", "pytorchjobs", "mpijobs", "tfjobs", "jobsets",
}  # fmt: skip


async def job(cluster: Cluster) -> None:
    """An attempt that runs elsewhere, which has a finalizer; and its end."""
    plane = Control(cluster)
    template = tasks_pb2.TaskTemplate(type="core-sleep").SerializeToString()
    asked = request(1, task_type="core-sleep", template=template)
    await plane.submit(asked)
    while not (found := await plane.come(ACTIONS, asked.name))["metadata"].get("finalizers"):
        async for _ in cluster.kube.watch(Selection(ACTIONS, cluster.namespace), version_of(found)):
            break
    await cluster.kube.delete(ACTIONS, Name(cluster.namespace, asked.name))
    await plane.gone(ACTIONS)
