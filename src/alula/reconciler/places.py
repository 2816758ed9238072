"""Where attempts go, and who may start there: the places of this machine, and clusters that have their own."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

from alula.core.action import Action, Failure
from alula.core.decide import Retry
from alula.core.launch import Launch, Observation
from alula.core.route import Routes
from alula.core.run import Run
from alula.reconciler.admission import Admission, Admitted
from alula.reconciler.hints import Hints, Key
from alula.wire import jobs, launches, taskactions
from alula.wire.jobs import Asking
from alula.wire.taskactions import Destination

Ask = Callable[[str, str], Awaitable[Observation | None]]  # of a cluster, an attempt


@dataclass(frozen=True, slots=True)
class Destinations:
    """``here`` is how tasks of this machine reach the server; ``ask`` asks a cluster for an attempt.

    ``asking``: how connectors are asked from this machine.
    """

    here: Mapping[str, str] = field(repr=False)
    clusters: Mapping[str, Destination] = field(default_factory=dict)
    routes: Routes = field(default_factory=lambda: Routes({}))
    ask: Ask | None = None
    asking: Asking = field(default_factory=Asking)

    def of(self, action: Action) -> str:
        """The cluster of an action; "" for this machine. It is the same for all of a run."""
        return self.routes.find(action.id.run, action.queue) if self.clusters else ""

    async def look(self, action: Action, name: str) -> Observation | None:
        """What there is of an attempt that has begun and is not seen: it may be that its cluster was not heard.

        Raises:
            Unavailable: that cluster does not answer.
        """
        cluster = self.of(action)
        return await self.ask(cluster, name) if cluster and self.ask is not None else None

    def launch(
        self, action: Action, run: Run, spec: bytes, secrets: Mapping[str, bytes], resumes: int | None = None
    ) -> Launch:
        """What to start, where it goes.

        Raises:
            LaunchRefused: the template describes nothing that can be started there, or a secret is missing.
        """
        cluster = self.of(action)
        if not cluster:
            job = jobs.launch(action, run, spec, self.here, secrets, self.asking)
            return job or launches.launch(action, run, spec, self.here, secrets, resumes)
        return taskactions.launch(action, run, spec, self.clusters[cluster], secrets, resumes)


class Places:
    """Admission for each: here by what the machine has, in clusters by queues and runs alone."""

    def __init__(self, here: Admission, away: Admission, destinations: Destinations) -> None:
        self._here, self._away = here, away
        self._destinations = destinations

    async def admit(self, action: Action, hints: Hints) -> Admitted | None:
        """See `Admission.admit`."""
        return await self._of(action).admit(action, hints)

    async def count(self, action: Action, seen: Observation) -> None:
        """See `Admission.count`."""
        await self._of(action).count(action, seen)

    async def more_memory(self, action: Action, failure: Failure) -> Retry | None:
        """See `Admission.more_memory`."""
        return await self._of(action).more_memory(action, failure)

    def rest(self, action: Action) -> Iterable[Key]:
        """See `Admission.rest`."""
        return self._of(action).rest(action)

    def free(self, key: Key) -> list[Key]:
        """See `Admission.free`."""
        return self._here.free(key) + self._away.free(key)

    def holds(self, key: Key) -> bool:
        """See `Admission.holds`."""
        return self._here.holds(key) or self._away.holds(key)

    def waits(self, key: Key) -> bool:
        """See `Admission.waits`."""
        return self._here.waits(key) or self._away.waits(key)

    def _of(self, action: Action) -> Admission:
        return self._away if self._destinations.of(action) else self._here
