"""Which class answers for which service of the protocol."""

from typing import Any

import flyteidl2.app.app_logs_service_pb2
import flyteidl2.app.app_service_pb2
import flyteidl2.cluster.service_pb2
import flyteidl2.imagebuilder.service_pb2
import flyteidl2.secret.secret_pb2  # noqa: F401 - descriptors of these services; their handlers use messages of other files
from google.protobuf import descriptor_pool

from alula.api.actions_service import ActionsService
from alula.api.app_logs_service import AppLogsService
from alula.api.app_service import AppService
from alula.api.artifact_service import ArtifactService
from alula.api.auth_metadata_service import AuthMetadataService
from alula.api.cache_service import CacheService, ScopedCacheService
from alula.api.cluster_service import ClusterService
from alula.api.dataproxy_service import DataProxyService, SignFor
from alula.api.domain_service import DomainService
from alula.api.errors import translate
from alula.api.events_proxy_service import EventsProxyService
from alula.api.identity_service import IdentityService
from alula.api.image_service import ImageService
from alula.api.internal_run_service import InternalRunService
from alula.api.project_service import ProjectService
from alula.api.queue_service import QueueService
from alula.api.run_logs_service import RunLogsService
from alula.api.run_service import RunService
from alula.api.secret_service import SecretService
from alula.api.settings_service import SettingsService
from alula.api.state_service import StateService
from alula.api.task_service import TaskService
from alula.api.tracked_run_service import TrackedRunService
from alula.api.translator_service import TranslatorService
from alula.api.trigger_service import TriggerService
from alula.api.validation import validate
from alula.app.control import Control
from alula.app.destinations import routes
from alula.base.settings import Settings
from alula.base.telemetry import Telemetry
from alula.control.app_logs import AppLogs
from alula.rpc.app import App
from alula.rpc.asgi import Asgi
from alula.rpc.call import Finished
from alula.rpc.health import Health
from alula.rpc.reflection import reflection
from alula.rpc.service import Service


def application(
    settings: Settings, control: Control, app_logs: AppLogs, sign_for: SignFor, fallback: Asgi, telemetry: Telemetry
) -> App:
    """Every rpc, and ``fallback`` for what is none."""
    handlers = {
        **_execution(settings, control),
        **_catalogue(settings, control),
        **_results(settings, control),
        "dataproxy.DataProxyService": DataProxyService(control.data, control.logs, control.triggers, sign_for),
        "cluster.ClusterService": ClusterService(routes(settings)),
        "app.AppService": AppService(control.apps, settings.server.port),
        "app.AppLogsService": AppLogsService(app_logs),
        "auth.IdentityService": IdentityService(settings.user),
        "auth.AuthMetadataService": AuthMetadataService(),
    }
    pool = descriptor_pool.Default()
    services = [Service(pool.FindServiceByName(f"flyteidl2.{name}"), handler) for name, handler in handlers.items()]
    services.append(Health(service.descriptor.full_name for service in services).service())

    def observe(call: Finished) -> None:
        telemetry.called(call.method.removeprefix("/"), call.code, call.seconds)

    known = [*services, *reflection(services)]
    return App(known, fallback=fallback, translate=translate, check=validate, observe=observe)


def _execution(settings: Settings, control: Control) -> dict[str, Any]:
    """Runs and what becomes of them."""
    verbs = (control.runs, control.actions, control.data, control.conditions, control.groups)
    runs = RunService(*verbs, settings.user)
    return {
        "workflow.RunService": runs,
        "workflow.TrackedRunService": TrackedRunService(control.tracked, control.runs, runs, settings.user),
        "workflow.InternalRunService": InternalRunService(control.actions, control.attempts),
        "workflow.EventsProxyService": EventsProxyService(control.attempts),
        "workflow.QueueService": QueueService(control.actions, control.data, settings.user),
        "workflow.StateService": StateService(control.actions, control.states),
        "workflow.RunLogsService": RunLogsService(control.logs),
        "actions.ActionsService": ActionsService(
            control.actions, control.data, control.conditions, control.attempts, settings.user
        ),
    }


def _catalogue(settings: Settings, control: Control) -> dict[str, Any]:
    """What runs are made from, and what they leave."""
    return {
        "task.TaskService": TaskService(control.tasks, control.projects, settings.user),
        "trigger.TriggerService": TriggerService(control.triggers, settings.user),
        "workflow.TranslatorService": TranslatorService(control.forms),
        "project.ProjectService": ProjectService(control.projects),
        "org.DomainService": DomainService(control.domains),
        "settings.SettingsService": SettingsService(control.settings),
        "secret.SecretService": SecretService(control.secrets),
    }


def _results(settings: Settings, control: Control) -> dict[str, Any]:
    """What is kept of what runs have made."""
    return {
        "artifact.ArtifactService": ArtifactService(control.artifacts, settings.user),
        "cacheservice.CacheService": CacheService(control.cache),
        "cacheservice.v2.CacheService": ScopedCacheService(control.cache),
        "imagebuilder.ImageService": ImageService(control.images),
    }
