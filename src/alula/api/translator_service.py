"""`flyteidl2.workflow.TranslatorService`."""

from flyteidl2.workflow import translator_service_pb2 as pb

from alula.control.forms import Forms
from alula.core.errors import Invalid
from alula.rpc.service import Context
from alula.wire import ids


class TranslatorService:
    """Literals and types as launch forms, and back."""

    def __init__(self, forms: Forms) -> None:
        self._forms = forms

    async def literals_to_launch_form_json(
        self, request: pb.LiteralsToLaunchFormJsonRequest, context: Context
    ) -> pb.LiteralsToLaunchFormJsonResponse:
        """Make the launch form of literals: given ones, a trigger's, or an action's."""
        literals = list(request.literals)
        if request.WhichOneof("owner") == "trigger_id":
            trigger = request.trigger_id
            literals = await self._forms.of_trigger(ids.trigger(trigger.name), trigger.revision)
        elif request.literals_uri:
            if not request.HasField("action_id"):
                raise Invalid("action_id: needed with literals_uri: name the action whose inputs or outputs they are")
            literals = await self._forms.of_action(ids.action(request.action_id), request.literals_uri)
        return pb.LiteralsToLaunchFormJsonResponse(json=await self._forms.of_literals(literals, request.variables))

    async def launch_form_json_to_literals(
        self, request: pb.LaunchFormJsonToLiteralsRequest, context: Context
    ) -> pb.LaunchFormJsonToLiteralsResponse:
        """Make the literals that a launch form's defaults stand for."""
        return pb.LaunchFormJsonToLiteralsResponse(literals=await self._forms.of_form(request.json))

    async def task_spec_to_launch_form_json(
        self, request: pb.TaskSpecToLaunchFormJsonRequest, context: Context
    ) -> pb.TaskSpecToLaunchFormJsonResponse:
        """Make a task's launch form: defaults merged, order kept."""
        if not request.HasField("task_spec"):
            raise Invalid("task_spec: needed: give the task whose form it is to be")
        return pb.TaskSpecToLaunchFormJsonResponse(json=await self._forms.of_task(request.task_spec))

    async def json_values_to_literals(
        self, request: pb.JsonValuesToLiteralsRequest, context: Context
    ) -> pb.JsonValuesToLiteralsResponse:
        """Make the literals that JSON values stand for, without losing anything."""
        if not request.HasField("values"):
            raise Invalid("values: needed: give an object with a value for each variable")
        literals = await self._forms.of_values(request.variables, request.values)
        return pb.JsonValuesToLiteralsResponse(literals=literals)
