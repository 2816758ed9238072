"""What a type of task says of itself: the ``custom`` of its template, a message of `flyteidl2.plugins` as JSON."""

from typing import TypeVar

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import Message

from alula.manager.plugins.base import BadTask, Task

_Message = TypeVar("_Message", bound=Message)


def parsed(task: Task, into: _Message) -> _Message:
    """``into``, filled. Fields that this version does not know are passed over.

    Raises:
        BadTask: it is no such message.
    """
    try:
        return ParseDict(task.custom(), into, ignore_unknown_fields=True)
    except ParseError as error:
        name = into.DESCRIPTOR.name
        raise BadTask(f"the task {task.template.id.name}: its custom part is no {name}: {error}") from None
