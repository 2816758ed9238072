"""`flyteidl2.project.ProjectService`."""

from flyteidl2.project import project_service_pb2 as pb

from alula.control.projects import Projects
from alula.rpc.service import Context
from alula.wire import projects as wire


class ProjectService:
    """Projects."""

    def __init__(self, projects: Projects) -> None:
        self._projects = projects

    async def create_project(self, request: pb.CreateProjectRequest, context: Context) -> pb.CreateProjectResponse:
        """Make a project."""
        await self._projects.create(wire.project(request.project))
        return pb.CreateProjectResponse()

    async def update_project(self, request: pb.UpdateProjectRequest, context: Context) -> pb.UpdateProjectResponse:
        """Replace what is said of a project; archive it, or bring it back."""
        await self._projects.update(wire.project(request.project))
        return pb.UpdateProjectResponse()

    async def get_project(self, request: pb.GetProjectRequest, context: Context) -> pb.GetProjectResponse:
        """Return a project, archived or not."""
        project = await self._projects.get(request.id)
        domains = await self._projects.domains.every()
        return pb.GetProjectResponse(project=wire.message(project, domains, request.org))

    async def list_projects(self, request: pb.ListProjectsRequest, context: Context) -> pb.ListProjectsResponse:
        """Page through the projects; archived ones only if a filter asks for them."""
        page, token = await self._projects.page(wire.page(request))
        domains = await self._projects.domains.every()
        projects = [wire.message(project, domains, request.org) for project in page]
        return pb.ListProjectsResponse(projects=pb.Projects(projects=projects, token=token))
