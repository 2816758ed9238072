"""Which connector carries out which type of task: they say so themselves (`ConnectorMetadataService`)."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from flyteidl2.connector import connector_pb2

from alula.core.errors import Unavailable
from alula.manager.remote.calls import Endpoint, Wire

_log = logging.getLogger(__name__)
_FRESH = 60.0  # seconds that what a connector said of itself is taken for true
_SOON = 5.0  # seconds before it is asked again for a type that it does not know

Category = tuple[str, int]  # a type of tasks, and its version


class Directory:
    """Asks the connectors when somebody wants to know, and remembers it for a while.

    ``clock`` counts seconds, from whenever.
    """

    def __init__(self, wire: Wire, endpoints: Sequence[Endpoint], clock: Callable[[], float]) -> None:
        self._wire = wire
        self._endpoints = endpoints
        self._clock = clock
        self._known: dict[Endpoint, frozenset[Category]] = {}
        self._asked: dict[Endpoint, float] = {}
        self._silent: set[Endpoint] = set()  # those that did not answer the last time
        self._asking = {endpoint: asyncio.Lock() for endpoint in endpoints}

    async def find(self, category: Category, project: str, domain: str) -> Endpoint | None:
        """The connector of a type of tasks: one for just this project goes before one for its domain, and that before
        one for all. One that has stopped to answer is still the one for what it last said.

        Nobody waits for another connector than his own, if that is known.

        Raises:
            Unavailable: none says that it is the one, and some say nothing.
        """
        found = self._best(category, project, domain)
        if found is not None:
            await self._refresh(found, _FRESH)
            found = self._best(category, project, domain)
        if found is None:
            await asyncio.gather(*(self._refresh(endpoint, _SOON) for endpoint in self._endpoints))
            found = self._best(category, project, domain)
        if found is None and self._silent:
            urls = ", ".join(sorted(endpoint.url for endpoint in self._silent))
            raise Unavailable(f"the connectors at {urls} do not say what they are for; {category[0]!r} may be among it")
        return found

    def last(self, category: Category, project: str, domain: str) -> Endpoint | None:
        """The connector of a type of tasks as far as it is known without asking anybody."""
        return self._best(category, project, domain)

    def _best(self, category: Category, project: str, domain: str) -> Endpoint | None:
        fitting = [
            endpoint
            for endpoint in self._endpoints
            if category in self._known.get(endpoint, ())
            and endpoint.project in ("", project)
            and endpoint.domain in ("", domain)
        ]
        return max(fitting, key=lambda one: (bool(one.project), bool(one.domain)), default=None)

    async def _refresh(self, endpoint: Endpoint, older: float) -> None:
        """Ask an endpoint what it is for, if what it has said is older than that."""
        async with self._asking[endpoint]:
            now = self._clock()
            if now - self._asked.get(endpoint, float("-inf")) >= older and self._wire.may_be_asked(endpoint):
                await self._ask(endpoint, now)

    async def _ask(self, endpoint: Endpoint, now: float) -> None:
        self._asked[endpoint] = now
        try:
            call = self._wire.metadata(endpoint).list_connectors(connector_pb2.ListConnectorsRequest())
            told = await self._wire.asked(endpoint, call)
        except Unavailable as error:
            _log.warning("connectors at %s: %s", endpoint.url, error)
            self._silent.add(endpoint)
            return
        self._silent.discard(endpoint)
        categories = (one for connector in told.connectors for one in connector.supported_task_categories)
        self._known[endpoint] = frozenset((one.name, one.version) for one in categories)
