"""A run that recovers another takes over what succeeded there, action by action: names are the same for the same work.

What is named in `Recover.force_rerun_actions` runs all the same. The root always runs: its name says nothing about its
inputs (SDK: `cli/_rerun.py`).
"""

from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import datetime

from alula.core.action import Action, Kind, NewAction
from alula.core.errors import NotFound
from alula.core.ids import ROOT
from alula.core.phase import Phase
from alula.core.run import Creation
from alula.storage import actions as store
from alula.storage import runs, specs
from alula.storage.database import Tx
from alula.wire import runs as wire


async def source(tx: Tx, asked: Creation) -> int | None:
    """The key of the run that a new one recovers.

    Raises:
        NotFound: there is no such run.
    """
    if asked.recovers is None:
        return None
    found = await runs.find(tx, asked.recovers)
    if found is None:
        raise NotFound(f"run_spec.relation.related_to: run {asked.recovers} does not exist")
    return found.key


async def taken_over(tx: Tx, parent: Action, new: NewAction) -> NewAction:
    """A child as its run begins it: recovered, if it succeeded in the run that this one recovers."""
    if parent.recovers is None:
        return new
    there = await store.get(tx, parent.recovers, new.name)
    if there is None or not there.phase.success or there.kind is not new.kind:
        return new
    return new if new.name in await _forced(tx, parent.run_key) else _recovered(new, there)


async def take_traces(tx: Tx, action: Action, now: datetime) -> None:
    """Give an action that will run the traces of its counterpart: it looks for them before it calls anything."""
    if action.recovers is None or action.kind is not Kind.TASK or action.phase.terminal:
        return
    forced = await _forced(tx, action.run_key)
    for trace in await store.traces(tx, action.recovers, action.id.name):
        if trace.id.name not in forced and await store.get(tx, action.run_key, trace.id.name) is None:
            new = _recovered(_as_new(trace, await specs.get(tx, trace.spec)), trace)
            await store.insert(tx, action.run_key, new, parent_attempt=action.attempt, spec=trace.spec, now=now)


async def _forced(tx: Tx, run: int) -> AbstractSet[str]:
    row = await runs.get(tx, run)
    assert row is not None, "an action belongs to a run that exists"
    return wire.forced(row.spec)


def _recovered(new: NewAction, there: Action) -> NewAction:
    return replace(
        new,
        phase=Phase.RECOVERED,
        output_uri=there.output_uri,
        value=there.value,
        by=there.by,
        recovered_from=there.id.run.name,
        failure=None,
    )


def _as_new(trace: Action, spec: bytes) -> NewAction:
    return NewAction(
        name=trace.id.name,
        parent=trace.parent or ROOT,
        kind=trace.kind,
        group=trace.group,
        input_uri=trace.input_uri,
        output_uri=trace.output_uri,
        base_uri=trace.base_uri,
        spec=spec,
        task=trace.task,
        hosted=False,
    )
