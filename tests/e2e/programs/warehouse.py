"""Queries that a connector runs: the task, and the connector, as the authors of plugins write them."""

import hashlib
import time
from dataclasses import dataclass
from typing import Any

import flyte.remote
from flyte.connectors import AsyncConnector, AsyncConnectorExecutorMixin, ConnectorRegistry, Resource, ResourceMeta
from flyte.extend import TaskTemplate
from flyte.models import NativeInterface, SerializationContext
from flyteidl2.core.execution_pb2 import TaskExecution, TaskLog


@dataclass
class Job(ResourceMeta):
    answer: str
    due: float


class Query(AsyncConnectorExecutorMixin, TaskTemplate[..., Any, Any]):
    """A question, which takes ``seconds``."""

    def __init__(self, name: str, seconds: float, **more: Any) -> None:
        interface = NativeInterface({"question": (str, None)}, {"answer": str})
        super().__init__(name=name, interface=interface, task_type="query", image=None, **more)
        self.seconds = seconds

    def custom_config(self, sctx: SerializationContext) -> dict[str, Any]:
        return {"secrets": {"token": "WAREHOUSE_TOKEN"}, "configs": {"seconds": str(self.seconds)}}


class QueryConnector(AsyncConnector[Job]):
    name = "Query Connector"
    task_type_name = "query"
    metadata_type = Job

    async def create(
        self,
        task_template: Any,
        output_prefix: str,
        inputs: dict[str, Any] | None = None,
        task_execution_metadata: Any = None,
        **more: Any,
    ) -> Job:
        token = hashlib.sha256(more["token"].encode()).hexdigest()[:8]
        return Job(f"{(inputs or {})['question']} {token}", time.time() + float(more["seconds"]))

    async def get(self, resource_meta: Job, **more: Any) -> Resource:
        link = TaskLog(name="Warehouse", uri="https://warehouse.example.org/jobs/1")
        if time.time() < resource_meta.due:
            return Resource(phase=TaskExecution.RUNNING, log_links=[link])
        return Resource(phase=TaskExecution.SUCCEEDED, log_links=[link], outputs={"answer": resource_meta.answer})

    async def delete(self, resource_meta: Job, **more: Any) -> None:
        print("ended", flush=True)


ConnectorRegistry.register(QueryConnector(), override=True)
token = flyte.Secret(key="warehouse-token", as_env_var="WAREHOUSE_TOKEN")
brief, endless = Query("brief", 0.5, secrets=token), Query("endless", 3600, secrets=token)
queries = flyte.TaskEnvironment.from_task("queries", brief, endless)
env = flyte.TaskEnvironment(name="asks", depends_on=[queries])


@env.task
async def ask(question: str) -> str:
    answer: str = await brief(question=question)
    return answer


def aborted() -> dict[str, Any]:
    """A query that would run for ever is aborted while it runs."""
    run = flyte.run(endless, question="when")
    for details in flyte.remote.ActionDetails.watch(run.action.action_id):
        if details.phase.value == "running":
            break
    run.abort(reason="not needed any more")
    told: dict[str, Any] = end(run)
    return told


if __name__ == "__main__":
    from telling import end, tell  # type: ignore[import-not-found]

    flyte.init_from_config()
    flyte.remote.Secret.create("warehouse-token", "hush-hush")
    asked = flyte.run(ask, question="why")
    tell(aborted=aborted(), asked=end(asked))
