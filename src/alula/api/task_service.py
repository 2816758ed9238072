"""`flyteidl2.task.TaskService`."""

from flyteidl2.task import task_service_pb2 as pb

from alula.control.projects import Projects
from alula.control.tasks import Tasks
from alula.rpc.service import Context
from alula.wire import deployments as wire
from alula.wire import ids, pages


class TaskService:
    """Deployed tasks."""

    def __init__(self, tasks: Tasks, projects: Projects, user: str) -> None:
        self._tasks = tasks
        self._projects = projects
        self._user = user

    async def deploy_task(self, request: pb.DeployTaskRequest, context: Context) -> pb.DeployTaskResponse:
        """Store a version of a task, and bring its triggers in line, in one transaction."""
        await self._projects.require(request.task_id.project, request.task_id.domain)
        await self._tasks.deploy(request, self._user)
        return pb.DeployTaskResponse()

    async def get_task_details(self, request: pb.GetTaskDetailsRequest, context: Context) -> pb.GetTaskDetailsResponse:
        """Return a version of a task with its spec."""
        task, spec = await self._tasks.get(ids.task(request.task_id))
        return pb.GetTaskDetailsResponse(details=wire.details_message(task, spec, request.task_id.org))

    async def list_tasks(self, request: pb.ListTasksRequest, context: Context) -> pb.ListTasksResponse:
        """Page through tasks in their latest versions, with triggers, latest run and totals."""
        page, token, counts = await self._tasks.page_of_latest(wire.scope(request), pages.page(request.request))
        total, filtered = counts
        metadata = pb.ListTasksResponse.ListTasksMetadata(total=total, filtered_total=filtered)
        return pb.ListTasksResponse(
            tasks=[wire.message(listed, listed.task.org) for listed in page], token=token, metadata=metadata
        )

    async def list_versions(self, request: pb.ListVersionsRequest, context: Context) -> pb.ListVersionsResponse:
        """Page through a task's versions."""
        name = request.task_name
        page, token = await self._tasks.page_of_versions(wire.name_scope(name), pages.page(request.request))
        return pb.ListVersionsResponse(versions=[wire.version_message(one, name.org) for one in page], token=token)
