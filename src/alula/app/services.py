"""Which class answers for which service of the protocol."""

from typing import Any

import flyteidl2.cluster.service_pb2  # noqa: F401 - its handler uses messages of another file
from google.protobuf import descriptor_pool

from alula.api.actions_service import ActionsService
from alula.api.auth_metadata_service import AuthMetadataService
from alula.api.cluster_service import ClusterService
from alula.api.dataproxy_service import DataProxyService, SignFor
from alula.api.errors import translate
from alula.api.events_proxy_service import EventsProxyService
from alula.api.identity_service import IdentityService
from alula.api.internal_run_service import InternalRunService
from alula.api.project_service import ProjectService
from alula.api.queue_service import QueueService
from alula.api.run_service import RunService
from alula.api.state_service import StateService
from alula.api.task_service import TaskService
from alula.api.validation import validate
from alula.app.control import Control
from alula.base.settings import Settings
from alula.rpc.app import App
from alula.rpc.asgi import Asgi
from alula.rpc.health import Health
from alula.rpc.reflection import reflection
from alula.rpc.service import Service


def application(settings: Settings, control: Control, sign_for: SignFor, fallback: Asgi) -> App:
    """Every rpc, and ``fallback`` for what is none."""
    handlers = {
        **_execution(control),
        **_catalogue(control),
        "dataproxy.DataProxyService": DataProxyService(control.data, control.logs, sign_for),
        "cluster.ClusterService": ClusterService(),
        "auth.IdentityService": IdentityService(settings.user),
        "auth.AuthMetadataService": AuthMetadataService(),
    }
    pool = descriptor_pool.Default()
    services = [Service(pool.FindServiceByName(f"flyteidl2.{name}"), handler) for name, handler in handlers.items()]
    services.append(Health(service.descriptor.full_name for service in services).service())
    return App([*services, *reflection(services)], fallback=fallback, translate=translate, check=validate)


def _execution(control: Control) -> dict[str, Any]:
    """Runs and what becomes of them."""
    return {
        "workflow.RunService": RunService(control.runs, control.actions, control.data),
        "workflow.InternalRunService": InternalRunService(control.actions, control.attempts),
        "workflow.EventsProxyService": EventsProxyService(control.attempts),
        "workflow.QueueService": QueueService(control.actions, control.data),
        "workflow.StateService": StateService(control.actions),
        "actions.ActionsService": ActionsService(control.actions, control.data),
    }


def _catalogue(control: Control) -> dict[str, Any]:
    """What runs are made from, and what they leave."""
    return {
        "task.TaskService": TaskService(control.tasks, control.projects),
        "project.ProjectService": ProjectService(control.projects),
    }
