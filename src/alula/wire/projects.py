"""Projects and their lists' small filter language."""

import re
from collections.abc import Sequence
from typing import cast

from flyteidl2.project import project_service_pb2
from flyteidl2.task import run_pb2

from alula.core.domain import Domain
from alula.core.errors import Invalid
from alula.core.pages import Page, Test, Where
from alula.core.project import Project
from alula.wire import pages

_CALL = re.compile(r"(\w+)\((\w+),([^()]*)\)")
_TESTS = {"eq": Test.EQUAL, "ne": Test.NOT_EQUAL, "contains": Test.CONTAINS, "value_in": Test.VALUE_IN}


def project(message: project_service_pb2.Project) -> Project:
    return Project(
        name=message.id,
        title=message.name or message.id,
        description=message.description,
        labels=dict(message.labels.values),
        state=message.state,
    )


def message(value: Project, domains: Sequence[Domain], org: str) -> project_service_pb2.Project:
    return project_service_pb2.Project(
        id=value.name,
        name=value.title,
        domains=[project_service_pb2.Domain(id=domain.name, name=domain.title) for domain in domains],
        description=value.description,
        labels=run_pb2.Labels(values=value.labels),
        state=cast("project_service_pb2.ProjectState", value.state),
        org=org,
    )


def page(message: project_service_pb2.ListProjectsRequest) -> Page:
    """A list request; its filters read ``fn(field,value)``, joined by ``+``."""
    order = (pages.order(message.sort_by),) if message.sort_by.key else ()
    where = tuple(_where(part) for part in message.filters.split("+") if part)
    return Page(limit=message.limit, token=message.token, where=where, order=order)


def _where(text: str) -> Where:
    call = _CALL.fullmatch(text.strip())
    test = _TESTS.get(call[1]) if call else None
    if call is None or test is None:
        raise Invalid(f"filters: cannot read {text!r}; write {'|'.join(_TESTS)}(field,value), joined by '+'")
    values = tuple(call[3].split(";")) if test is Test.VALUE_IN else (call[3],)
    return Where(call[2], test, values)
