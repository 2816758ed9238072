"""What a cluster accepts: names and labels, the schema of a CustomResourceDefinition, the bones of a pod."""

import re
from collections.abc import Mapping
from typing import Any

import jsonschema

from alula.kube.objects import Object
from tests.kube.apiserver.refusals import Refusal, invalid

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_DNS_LABEL = re.compile(_LABEL)
_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")


def check_names(kind: str, value: Object) -> None:
    """Names are DNS subdomains; labels have short values."""
    meta = value["metadata"]
    name = meta["name"]
    if not isinstance(name, str) or len(name) > 253 or not _SUBDOMAIN.fullmatch(name):
        raise invalid(kind, name, "metadata.name", f'Invalid value: "{name}": a lowercase RFC 1123 subdomain')
    for key, label in (meta.get("labels") or {}).items():
        short = key.rpartition("/")[2]
        if not isinstance(label, str):
            raise Refusal(400, f"{kind} in version cannot be handled: json: cannot unmarshal label {key} into string")
        if len(label) > 63 or not _VALUE.fullmatch(label) or not 0 < len(short) <= 63 or not _VALUE.fullmatch(short):
            raise invalid(kind, name, "metadata.labels", f'Invalid value: "{key}={label}"')
    for owner in meta.get("ownerReferences") or []:
        if not all(owner.get(key) for key in ("apiVersion", "kind", "name", "uid")):
            raise invalid(kind, name, "metadata.ownerReferences", "Required value: apiVersion, kind, name and uid")


class Schema:
    """The schema of a kind that a CustomResourceDefinition has brought."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema
        self._validator = jsonschema.Draft202012Validator(_plain(schema))

    def pruned(self, value: Object) -> Object:
        """Without the fields that the schema does not know."""
        pruned: Object = _pruned(self._schema, value)
        return pruned | {key: value[key] for key in ("apiVersion", "kind", "metadata") if key in value}

    def check(self, kind: str, value: Object) -> None:
        """Raises: Refusal: 422."""
        error = next(self._validator.iter_errors(value), None)
        if error is not None:
            path = ".".join(map(str, error.absolute_path)) or error.message[:40]
            raise invalid(kind, value["metadata"]["name"], path, f"Invalid value: {error.message[:300]}")


def _plain(schema: Any) -> Any:
    """What is Kubernetes' own in a schema, in JSON schema's words."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    plain = {key: _plain(one) for key, one in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        plain.pop("anyOf", None)
        plain["type"] = ["integer", "string"]
    if schema.get("nullable") is True and isinstance(schema.get("type"), str):
        plain["type"] = [schema["type"], "null"]
    return plain


def _pruned(schema: Mapping[str, Any], value: Any) -> Any:
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return value
    if isinstance(value, list):
        return [_pruned(schema.get("items") or {}, one) for one in value]
    if not isinstance(value, Mapping):
        return value
    known, more = schema.get("properties") or {}, schema.get("additionalProperties")
    kept = {key: _pruned(known[key], one) for key, one in value.items() if key in known}
    if more:
        inner = more if isinstance(more, Mapping) else {"x-kubernetes-preserve-unknown-fields": True}
        kept |= {key: _pruned(inner, one) for key, one in value.items() if key not in known}
    return kept


def pod_with_defaults(pod: Object) -> Object:
    """A new pod, as a cluster completes it: the few defaults that anybody looks at."""
    spec = {
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "terminationGracePeriodSeconds": 30,
        "serviceAccountName": "default",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        **pod["spec"],
    }
    return {**pod, "spec": spec, "status": {"phase": "Pending", "qosClass": "BestEffort"}}


def check_pod(pod: Object) -> None:
    """Raises: Refusal: 422."""
    name, spec = pod["metadata"]["name"], pod.get("spec") or {}
    if not spec.get("containers"):
        raise invalid("Pod", name, "spec.containers", "Required value")
    seen: set[str] = set()
    for part in ("initContainers", "containers"):
        for place, one in enumerate(spec.get(part) or []):
            where, called = f"spec.{part}[{place}]", one.get("name", "")
            if not called or len(called) > 63 or not _DNS_LABEL.fullmatch(called):
                raise invalid("Pod", name, f"{where}.name", f'Invalid value: "{called}": a lowercase RFC 1123 label')
            if called in seen:
                raise invalid("Pod", name, f"{where}.name", f'Duplicate value: "{called}"')
            if not one.get("image"):
                raise invalid("Pod", name, f"{where}.image", "Required value")
            seen.add(called)
            _check_amounts(name, where, one)
    volumes = {volume.get("name") for volume in spec.get("volumes") or []}
    for one in [*(spec.get("initContainers") or []), *spec["containers"]]:
        for mount in one.get("volumeMounts") or []:
            if mount.get("name") not in volumes:
                raise invalid("Pod", name, "spec.containers.volumeMounts.name", f'Not found: "{mount.get("name")}"')
    if spec.get("restartPolicy", "Always") not in ("Always", "OnFailure", "Never"):
        raise invalid("Pod", name, "spec.restartPolicy", f'Unsupported value: "{spec["restartPolicy"]}"')


def _check_amounts(name: str, where: str, container: Object) -> None:
    amounts = container.get("resources") or {}
    for part in ("requests", "limits"):
        for what, amount in (amounts.get(part) or {}).items():
            if not re.fullmatch(r"[0-9]+(\.[0-9]*)?(m|[kMGTPE]i?|Ki|e[0-9]+)?", str(amount)):
                raise invalid("Pod", name, f"{where}.resources.{part}.{what}", f'Invalid value: "{amount}"')
