"""The Helm chart: what it renders is valid, gives no more rights than are used, and fits what alula reads."""

import functools
import os
import shutil
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from alula.app.config import load
from alula.manager import crds, settings

ROOT = Path(__file__).parents[2]
CHART, MANIFESTS = ROOT / "deploy" / "helm" / "alula", ROOT / "deploy" / "manifests"
KUBERNETES = "1.34"
HELM = shutil.which("helm")
helm = pytest.mark.skipif(HELM is None, reason="helm is not on the PATH: what is rendered in the repository is checked")

Objects = Sequence[Mapping[str, Any]]

# Every case has to render, and what it renders has to be valid.
CASES: Mapping[str, Sequence[str]] = {
    "plain": (),
    "names": ("hosts={alula.example.com}", "ingress.enabled=true", "ingress.className=nginx", "service.port=8080"),
    "connectors": ("manager.config=[manager.connectors.a]\nurl = 'http://a:8000'",),
    "kinds": ("tasks.namespace=work", "tasks.kinds[0].group=ray.io", "tasks.kinds[0].resources={rayjobs}"),
    "identity": (
        "objects.endpoint=",
        "objects.bucket=s3://data",
        "objects.keysSecret.name=",
        "objects.buckets={s3://more}",
    ),
    "google": ("objects.endpoint=", "objects.bucket=gs://data", "objects.keysSecret.keyId="),
    "azure": ("objects.endpoint=", "objects.bucket=abfs://data", "objects.account=who", "objects.keysSecret.keyId="),
    "guards": (
        "networkPolicy.enabled=true",
        "networkPolicy.from[0].ipBlock.cidr=10.0.0.0/8",
        "podMonitor.enabled=true",
        "priorityClassName=high",
        "extraEnv[0].name=HTTPS_PROXY",
        "extraEnv[0].value=http://proxy",
        "podLabels.team=ml",
        "serviceAccounts.server.annotations.iam\\.gke\\.io/gcp-service-account=alula@example.iam",
        "manager.readSecrets=true",
    ),
    "places": ("nodeSelector.pool=alula", "image.pullSecrets[0].name=registry", "podAnnotations.team=ml"),
}
FOREIGN = ("PodMonitor",)  # resources of operators, of which no schema is here
REFUSED: Mapping[str, Sequence[str]] = {
    "a key that is none": ("apis.replicas=3",),
    "no replicas": ("api.replicas=0",),
    "a password in a URL": ("database.url=postgresql://alula:secret@db/alula",),
    "a variable without a name": ("extraEnv[0].value=x",),
    "a service of no type": ("service.type=External",),
}


def run(*words: str) -> subprocess.CompletedProcess[str]:
    assert HELM is not None
    return subprocess.run([HELM, *words], capture_output=True, text=True, check=False, timeout=60)


def arguments(values: Sequence[str]) -> list[str]:
    given = [word for value in values for word in ("--set", value)]
    return [str(CHART), "--values", str(MANIFESTS / "values.yaml"), "--kube-version", KUBERNETES, *given]


@functools.cache
def rendered(case: str) -> str:
    ran = run("template", "alula", "--namespace", "alula", *arguments(CASES[case]))
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def objects(text: str) -> Objects:
    return [one for one in yaml.safe_load_all(text) if one]


def committed() -> Objects:
    return objects((MANIFESTS / "alula.yaml").read_text())


def find(where: Objects, kind: str, name: str) -> Mapping[str, Any]:
    (found,) = [one for one in where if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


@helm
def test_helm_has_nothing_to_say() -> None:
    ran = run("lint", "--strict", *arguments(()))
    assert ran.returncode == 0, ran.stdout
    assert "WARNING" not in ran.stdout
    assert "ERROR" not in ran.stdout


@helm
@pytest.mark.parametrize("case", CASES)
def test_every_object_is_valid(case: str) -> None:
    found = objects(rendered(case))
    assert len(found) > 15
    for one in found:
        if one["kind"] not in FOREIGN:
            kubernetes_validate.validate(one, KUBERNETES, strict=True)


@helm
def test_replicas_are_spread_and_guarded() -> None:
    plain, guarded = objects(rendered("plain")), objects(rendered("guards"))
    for one in plain:
        if one["kind"] == "Deployment":
            (spread,) = one["spec"]["template"]["spec"]["topologySpreadConstraints"]
            assert spread["labelSelector"]["matchLabels"] == one["spec"]["selector"]["matchLabels"]
            assert find(plain, "PodDisruptionBudget", one["metadata"]["name"])
    (rule,) = find(guarded, "NetworkPolicy", "alula")["spec"]["ingress"]
    assert {"ipBlock": {"cidr": "10.0.0.0/8"}} in rule["from"]
    assert len(rule["from"]) == 3
    assert find(guarded, "PodMonitor", "alula")
    for one in guarded:
        if one["kind"] == "Deployment":
            pods = one["spec"]["template"]
            assert (pods["spec"]["priorityClassName"], pods["metadata"]["labels"]["team"]) == ("high", "ml")
            assert {"name": "HTTPS_PROXY", "value": "http://proxy"} in pods["spec"]["containers"][0]["env"]


@helm
def test_accounts_have_what_they_are_given() -> None:
    guarded = objects(rendered("guards"))
    account = find(guarded, "ServiceAccount", "alula-server")["metadata"]["annotations"]
    assert account == {"iam.gke.io/gcp-service-account": "alula@example.iam"}
    secrets = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
    assert secrets in find(guarded, "Role", "alula-manager")["rules"]
    assert secrets not in find(committed(), "Role", "alula-manager")["rules"]


@helm
@pytest.mark.parametrize("values", REFUSED.values(), ids=REFUSED)
def test_values_that_make_no_sense_are_refused(values: Sequence[str]) -> None:
    ran = run("template", "alula", *arguments(values))
    assert ran.returncode != 0
    assert "values don't meet the specifications of the schema" in ran.stderr


@helm
def test_the_manifests_are_what_the_chart_renders() -> None:
    """`ALULA_GOLDEN=write` writes them."""
    file = MANIFESTS / "alula.yaml"
    head = "# Rendered from deploy/helm/alula with deploy/manifests/values.yaml; ALULA_GOLDEN=write renders it again.\n"
    text = head + (CHART / "crds" / "taskactions.yaml").read_text() + rendered("plain")
    if os.environ.get("ALULA_GOLDEN") == "write":
        file.write_text(text)
    assert file.read_text() == text


def test_the_manifests_are_valid() -> None:
    found = committed()
    assert {one["kind"] for one in found} >= {"Deployment", "Role", "Job", "Service", "CustomResourceDefinition"}
    for one in found:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)


def test_the_chart_has_the_resource_of_the_package() -> None:
    assert (CHART / "crds" / "taskactions.yaml").read_text() == crds.text()


def test_the_server_reads_its_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DATABASE_PASSWORD", "OBJECTS_KEY_ID", "OBJECTS_SECRET", "ENCRYPTION_KEY"):
        monkeypatch.setenv(f"ALULA_{name}", "x")
    data = find(committed(), "ConfigMap", "alula-server")["data"]
    roles = set()
    for name, text in data.items():
        (tmp_path / name).write_text(text)
        found = load(tmp_path / name)
        assert found.shared
        assert found.objects.endpoint == "https://s3.example.com"
        roles |= set(found.server.roles)
    assert roles == {"api", "reconciler", "scheduler", "notifier", "retention"}, "apps are no pods"


@helm
@pytest.mark.parametrize(("case", "keys"), [("identity", 0), ("google", 1), ("azure", 1)])
def test_the_bucket_may_be_anybodys(case: str, keys: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = objects(rendered(case))
    (tmp_path / "api.toml").write_text(find(found, "ConfigMap", "alula-server")["data"]["api.toml"])
    given = find(found, "Deployment", "alula-api")["spec"]["template"]["spec"]["containers"][0]["env"]
    for one in given:
        monkeypatch.setenv(one["name"], "x")
    assert load(tmp_path / "api.toml").objects.remote
    assert len([one for one in given if "OBJECTS" in one["name"]]) == keys


def test_the_manager_reads_its_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OBJECTS_KEY_ID", "OBJECTS_SECRET"):
        monkeypatch.setenv(f"ALULA_{name}", "x")
    file = tmp_path / "manager.toml"
    file.write_text(find(committed(), "ConfigMap", "alula-manager")["data"]["manager.toml"])
    found = settings.load(file)
    settings.check(found)
    assert found.namespace == "alula"
    assert found.pods.copilot_image == "alula:0.1.0"
    assert (found.objects.endpoint, found.objects.bucket) == ("https://s3.example.com", "alula")


def test_no_pod_may_do_more_than_it_has_to() -> None:
    pods = [one["spec"]["template"]["spec"] for one in committed() if one["kind"] in ("Deployment", "Job")]
    assert len(pods) == 5
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        for container in pod["containers"]:
            confined = container["securityContext"]
            assert not confined["allowPrivilegeEscalation"]
            assert confined["readOnlyRootFilesystem"]
            assert container["resources"]["requests"]
            assert container["resources"]["limits"]["memory"]


def test_rights_are_of_one_namespace_and_name_what_is_used() -> None:
    roles = [one for one in committed() if one["kind"] in ("Role", "ClusterRole")]
    assert [role["kind"] for role in roles] == ["Role", "Role"]
    for role in roles:
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
    manager = find(committed(), "Role", "alula-manager")["rules"]
    assert not [rule for rule in manager if "secrets" in rule["resources"]], "it makes pods that name them"


@helm
def test_who_has_connectors_reads_secrets() -> None:
    (rule,) = [
        one
        for one in find(objects(rendered("connectors")), "Role", "alula-manager")["rules"]
        if "secrets" in one["resources"]
    ]
    assert rule["verbs"] == ["get"]


def test_secrets_are_named_and_not_told() -> None:
    for one in committed():
        if one["kind"] != "Deployment" or one["metadata"]["name"].endswith("manager"):
            continue
        for variable in one["spec"]["template"]["spec"]["containers"][0]["env"]:
            assert "value" not in variable
    text = find(committed(), "ConfigMap", "alula-server")["data"]["api.toml"]
    told = tomllib.loads(text)
    assert told["database"]["password"] == {"env": "ALULA_DATABASE_PASSWORD"}
