"""The links that a task's template gives its attempts (`TaskMetadata.log_links`)."""

import re

from flyteidl2.core import execution_pb2, tasks_pb2

from alula.core.action import Action
from alula.core.template import render

_LEFT = re.compile(r"\{\{[^}]*\}\}")


def rendered(template: tasks_pb2.TaskTemplate, action: Action, attempt: int) -> list[execution_pb2.TaskLog]:
    """A template's links, filled in for one attempt. What this server has no value for becomes nothing."""
    run = action.id.run
    values = {
        "actionName": action.id.name,
        "runName": run.name,
        "podName": f"attempt-{attempt}",
        "executionProject": run.project,
        "executionDomain": run.domain,
        "executionOrg": action.org,
    }
    found = []
    for link in template.metadata.log_links:
        told = execution_pb2.TaskLog()
        told.CopyFrom(link)
        told.uri = _LEFT.sub("", render([link.uri], values)[0])
        found.append(told)
    return found
