"""Runs grouped by their tasks, watched."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from alula.core.groups import Group, GroupScope, news, page
from alula.storage import groups as store
from alula.storage.changes import Changes, of_roots
from alula.storage.database import Database

_BATCH = 200  # groups told of at a time


@dataclass(frozen=True, slots=True)
class Told:
    """Some groups, and the tasks of those to forget. ``whole``: everything there was at the beginning is told of."""

    groups: list[Group]
    gone: list[str]
    whole: bool = False


class Groups:
    """The verbs of groups."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._database = database
        self._changes = changes

    async def watch(self, scope: GroupScope) -> AsyncIterator[Told]:
        """All groups of a scope; then, unless it has an end, those that change, for ever."""
        with self._changes.watch(of_roots()) as changed:
            groups = await self._all(scope)
            told = page(groups.values(), scope.order, scope.limit)
            first = list(told.values())
            for start in range(0, len(first) or 1, _BATCH):
                yield Told(first[start : start + _BATCH], [], whole=start + _BATCH >= len(first))
            while scope.end is None:
                changes = await changed.next()
                if changes is None:  # what changed is not known: anything may have
                    groups = await self._all(scope)
                else:
                    await self._count_again(scope, groups, {change.run for change in changes})
                now = page(groups.values(), scope.order, scope.limit)
                some, gone = news(told, now)
                told = now
                if some or gone:
                    yield Told(some, gone)

    async def _all(self, scope: GroupScope) -> dict[str, Group]:
        return await self._database.scan(lambda tx: store.all_groups(tx, scope))

    async def _count_again(self, scope: GroupScope, groups: dict[str, Group], runs: set[int]) -> None:
        """Only the groups of runs that changed."""
        for task in await self._database.scan(lambda tx: store.tasks_of(tx, scope, runs)):
            group = await self._database.scan(lambda tx, task=task: store.group(tx, scope, task))  # type: ignore[misc]
            if group is None:
                groups.pop(task, None)
            else:
                groups[task] = group
