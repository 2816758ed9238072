"""Which runs a list or a watch is about."""

import pytest

from alula.core.action import TaskRef
from alula.core.ids import ROOT, ActionId, RunId
from alula.core.run import RunScope, in_scope

from .builders import action

_ROOT = action(
    id=ActionId(RunId("p", "d", "r"), ROOT), task=TaskRef(project="tp", domain="td", name="tn", version="tv")
)


@pytest.mark.parametrize(
    ("scope", "inside"),
    [
        (RunScope(), True),
        (RunScope(project="p"), True),
        (RunScope(project="p", domain="d"), True),
        (RunScope(project="tp"), False),
        (RunScope(project="p", domain="x"), False),
        (RunScope(domain="x"), False),
        (RunScope(task_project="tp", task_domain="td", task_name="tn"), True),
        (RunScope(task_project="tp", task_domain="td", task_name="tn", task_version="tv"), True),
        (RunScope(task_project="p"), False),
        (RunScope(task_domain="d"), False),
        (RunScope(task_name="t"), False),
        (RunScope(task_version="x"), False),
        (RunScope(project="p", task_name="tn"), True),
        (RunScope(project="x", task_name="tn"), False),
    ],
)
def test_in_scope(scope: RunScope, inside: bool) -> None:
    assert in_scope(scope, _ROOT) is inside
