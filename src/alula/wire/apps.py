"""Apps."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flyteidl2.app import app_definition_pb2 as pb
from flyteidl2.app import app_logs_payload_pb2, app_payload_pb2, replica_definition_pb2
from flyteidl2.common import identity_pb2
from flyteidl2.core import literals_pb2, security_pb2, tasks_pb2
from flyteidl2.logs.dataplane import payload_pb2
from flyteidl2.task import run_pb2
from google.protobuf.json_format import MessageToDict

from alula.core.app import (
    DEFAULT_IDLE,
    DEFAULT_TIMEOUT,
    RESERVED_PORTS,
    App,
    AppId,
    AppScope,
    Condition,
    Desired,
    NewApp,
    Plan,
    Report,
    Scaling,
    with_port,
)
from alula.core.errors import Invalid, LaunchRefused
from alula.core.ids import RunId
from alula.core.ingress import endpoint_pattern, host_url, public_url
from alula.core.launch import Launch, LogLine, Originator, Resources
from alula.core.template import render
from alula.wire import resources as amounts
from alula.wire import secrets, times

_ORG = "local"  # `fserve` insists on an organisation; clients mostly have none
_GRACE = 10.0  # seconds that an app gets to end well
_ORIGINATORS = {Originator.USER: payload_pb2.USER, Originator.SYSTEM: payload_pb2.SYSTEM}
# What of a spec its processes are made from. The rest changes without starting them anew.
_OF_PROCESSES = ("container", "pod", "security_context", "extended_resources", "inputs")


def identifier(message: pb.Identifier) -> AppId:
    """Which app a message names.

    Raises:
        Invalid: it names none. The protocol's own rules see to messages that are there, and not to absent ones.
    """
    if not message.name:
        raise Invalid("app_id.name: name the app")
    return AppId(message.project, message.domain, message.name)


def identifier_message(app: AppId, org: str) -> pb.Identifier:
    return pb.Identifier(org=org, project=app.project, domain=app.domain, name=app.name)


# From the wire


def asked(message: pb.App) -> NewApp:
    """What a request says of an app.

    Raises:
        Invalid: it could never be served.
    """
    spec, meta = pb.Spec(), pb.Meta()
    spec.CopyFrom(message.spec)
    desired = Desired.STOPPED if spec.desired_state == pb.Spec.DESIRED_STATE_STOPPED else Desired.ACTIVE
    spec.desired_state = spec.desired_state or pb.Spec.DESIRED_STATE_ACTIVE
    spec.ingress.SetInParent()  # the SDK asserts that there is one before it compares (remote/_app.py)
    spec.ClearField("creator")  # who that is, the server knows
    meta.CopyFrom(message.metadata)
    meta.ClearField("id")
    meta.ClearField("revision")
    return NewApp(
        id=identifier(message.metadata.id),
        org=message.metadata.id.org,
        revision=message.metadata.revision,
        desired=desired,
        spec=spec.SerializeToString(deterministic=True),
        meta=meta.SerializeToString(deterministic=True),
        plan=_plan(spec),
    )


def _plan(spec: pb.Spec) -> Plan:
    port = _port(spec)
    if port in RESERVED_PORTS or not 0 <= port < 1 << 16:
        raise Invalid(f"app.spec: port {port} cannot be an app's: choose another, but for {sorted(RESERVED_PORTS)}")
    core = pb.Spec()
    for part in _OF_PROCESSES:
        if spec.HasField(part):
            getattr(core, part).CopyFrom(getattr(spec, part))
    return Plan(
        scaling=_scaling(spec.autoscaling),
        timeout=times.seconds(spec.timeouts.request_timeout) or DEFAULT_TIMEOUT,
        port=port,
        deployment=hashlib.sha256(core.SerializeToString(deterministic=True)).hexdigest()[:16],
        cluster=spec.cluster,
        subdomain=spec.ingress.subdomain,
        consumed="".join(_consumed(spec.inputs.items)),
    )


def _scaling(message: pb.AutoscalingConfig) -> Scaling:
    least = message.replicas.min
    return Scaling(
        least=least,
        most=max(message.replicas.max, least, 1),
        idle=times.seconds(message.scaledown_period) or DEFAULT_IDLE,
        concurrency=message.scaling_metric.concurrency.target_value,
        rate=message.scaling_metric.request_rate.target_value,
    )


def _consumed(inputs: Iterable[pb.Input]) -> Iterable[str]:
    for one in inputs:
        if one.HasField("artifact_id"):
            artifact = one.artifact_id.key
            yield f"{artifact.project}/{artifact.domain}/{artifact.name}@{one.artifact_id.version}\n"


def report(message: pb.App) -> Report:
    """What a cluster says of an app: its last condition, and its replicas.

    Raises:
        Invalid: it says nothing.
    """
    status = message.status
    if not status.conditions or not status.conditions[-1].deployment_status:
        raise Invalid("app.status.conditions: the last one must say a deployment_status")
    last = status.conditions[-1]
    return Report(last.deployment_status, last.substate, last.message, status.current_replicas)


def scope(message: app_payload_pb2.ListRequest | app_payload_pb2.WatchRequest) -> AppScope:
    """Which apps a request is about. An organisation is everything there is."""
    match message.WhichOneof("filter_by" if isinstance(message, app_payload_pb2.ListRequest) else "target"):
        case "cluster_id":
            return AppScope(cluster=message.cluster_id.name)
        case "project":
            return AppScope(project=message.project.name, domain=message.project.domain)
        case "app_id":
            assert isinstance(message, app_payload_pb2.WatchRequest)
            app = message.app_id
            return AppScope(project=app.project, domain=app.domain, name=app.name)
        case "artifact":
            assert isinstance(message, app_payload_pb2.ListRequest)
            artifact = message.artifact
            line = f"{artifact.project}/{artifact.domain}/{artifact.name}@"
            return AppScope(consumed=f"{line}{artifact.version}\n" if artifact.version else line)
    return AppScope()


# To the wire


def message(app: App, port: int, org: str = "") -> pb.App:
    """An app as it is told; ``port`` is where this server listens."""
    spec, meta = pb.Spec.FromString(app.spec), pb.Meta.FromString(app.meta)
    spec.creator.CopyFrom(_identity(app.created_by))
    meta.id.CopyFrom(identifier_message(app.id, org or app.org))
    meta.revision = app.revision
    status = pb.Status(
        assigned_cluster=app.assigned,
        current_replicas=app.replicas,
        ingress=pb.Ingress(public_url=public_url(app.id, port), cname_url=host_url(app.host, port)),
        created_at=times.timestamp(app.created_at),
        last_updated_at=times.timestamp(app.updated_at),
        conditions=[_condition(condition) for condition in app.conditions],
        lease_expiration=times.optional(app.lease_until),
        last_started_at=times.optional(app.started_at),
    )
    return pb.App(metadata=meta, spec=spec, status=status)


def _condition(condition: Condition) -> pb.Condition:
    return pb.Condition(
        last_transition_time=times.timestamp(condition.at),
        deployment_status=condition.status,  # type: ignore[arg-type]
        substate=condition.substate,  # type: ignore[arg-type]
        message=condition.message,
        revision=condition.revision,
        deployment_id=condition.deployment,
        actor=_identity(condition.actor) if condition.actor else None,
    )


def _identity(subject: str) -> identity_pb2.EnrichedIdentity:
    user = identity_pb2.User()
    user.id.subject = subject
    return identity_pb2.EnrichedIdentity(user=user)


def replicas_message(names: Iterable[str], app: pb.Identifier) -> app_logs_payload_pb2.TailLogsResponse:
    replicas = [replica_definition_pb2.ReplicaIdentifier(app_id=app, name=name) for name in names]
    return app_logs_payload_pb2.TailLogsResponse(replicas=app_logs_payload_pb2.ReplicaIdentifierList(replicas=replicas))


def lines_message(
    lines: Iterable[LogLine], app: pb.Identifier, replica: str, *, live: bool
) -> app_logs_payload_pb2.TailLogsResponse:
    """A batch of one replica's lines; each keeps its line end."""
    source = payload_pb2.LOG_LINE_SOURCE_LIVE if live else payload_pb2.LOG_LINE_SOURCE_PERSISTED
    said = app_logs_payload_pb2.LogLines(
        replica_id=replica_definition_pb2.ReplicaIdentifier(app_id=app, name=replica),
        structured_lines=[
            payload_pb2.LogLine(
                timestamp=times.timestamp(line.at),
                message=line.text,
                originator=_ORIGINATORS[line.originator],
                short_pod_name=replica,
            )
            for line in lines
        ],
        source=source,
    )
    return app_logs_payload_pb2.TailLogsResponse(batches=app_logs_payload_pb2.LogLinesBatch(logs=[said]))


# To a process


@dataclass(frozen=True, slots=True)
class Place:
    """How apps reach this server: the environment of its tasks, its port, and where they may put what they make."""

    env: Mapping[str, str] = field(repr=False)  # holds the keys of the object store
    port: int
    raw: str  # the URI of a folder


def launch(app: App, replica: str, port: int, place: Place, secrets_: Mapping[str, bytes]) -> Launch:
    """How a replica is started, to listen on ``port``. ``secrets_``: those that there are of `secret_keys`.

    Raises:
        LaunchRefused: the spec describes nothing that can be started, an amount is none, or a secret is missing.
    """
    spec = pb.Spec.FromString(app.spec)
    container = _container(spec)
    raw = f"{place.raw}/{app.id}/{app.revision}"
    words = render([*container.command, *container.args], {"rawOutputDataPrefix": raw, "port": str(port)})
    if not words:
        raise LaunchRefused("the app has no command and no arguments: there is nothing to run")
    injected = secrets.inject([_secrets(spec)], secrets_, RunId(app.id.project, app.id.domain, app.id.name))
    env = {
        **{pair.key: pair.value for pair in container.env},
        **injected.env,
        **place.env,
        "INTERNAL_APP_ENDPOINT_PATTERN": endpoint_pattern(app.id.project, app.id.domain, place.port),
        "FLYTE_INTERNAL_EXECUTION_PROJECT": app.id.project,
        "FLYTE_INTERNAL_EXECUTION_DOMAIN": app.id.domain,
        "_U_ORG_NAME": app.org or _ORG,
        "PORT": str(port),
        # With these the SDK's `AppEnvironment.get_port()` tells the port that the host gave, and not the declared one.
        "_F_APPLE_SILICON_ON_HOST": "1",
        "_F_APPLE_SILICON_HOST_PORT": str(port),
    }
    return Launch(
        name=replica,
        command=with_port(words, app.plan.port, port),
        env=env,
        image=container.image,
        grace=_GRACE,
        files=injected.files,
        secrets=injected.texts,
        resources=_resources(spec, container),
    )


def _resources(spec: pb.Spec, container: tasks_pb2.Container) -> Resources:
    """What a replica asks for and may not exceed, by the rules of tasks."""
    template = tasks_pb2.TaskTemplate(extended_resources=spec.extended_resources)
    return amounts.resources(template, container, run_pb2.RunSpec(), mirror=False)


def secret_keys(app: App) -> set[str]:
    """The names of the secrets that an app needs."""
    return secrets.keys([_secrets(pb.Spec.FromString(app.spec))])


def _secrets(spec: pb.Spec) -> security_pb2.SecurityContext:
    return security_pb2.SecurityContext(secrets=spec.security_context.secrets)


def _port(spec: pb.Spec) -> int:
    try:
        ports = _container(spec).ports
    except LaunchRefused:
        return 0
    return ports[0].container_port if ports else 0


def _container(spec: pb.Spec) -> tasks_pb2.Container:
    """The container to run; of a pod, the one named `app`, as the SDK names it (other containers mean nothing here)."""
    if spec.WhichOneof("app_payload") == "container":
        return spec.container
    pod = MessageToDict(spec.pod.pod_spec)
    listed = pod.get("containers")
    containers = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    name = spec.pod.primary_container_name or "app"
    for one in containers:
        if one.get("name") == name or len(containers) == 1:
            return tasks_pb2.Container(
                image=str(one.get("image", "")),
                command=_strings(one.get("command")),
                args=_strings(one.get("args")),
                resources=amounts.of_pod(one.get("resources")),
                env=[
                    literals_pb2.KeyValuePair(key=str(pair.get("name", "")), value=str(pair.get("value", "")))
                    for pair in _dicts(one.get("env"))
                ],
                ports=[
                    tasks_pb2.ContainerPort(container_port=int(number))
                    for port in _dicts(one.get("ports"))
                    if isinstance(number := port.get("containerPort"), int | float) and 0 <= number < 1 << 16
                ],
            )
    raise LaunchRefused(f"the app's pod has no container named {name!r}", code="PrimaryContainerNotFound")


def _dicts(value: object) -> list[dict[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _strings(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
