"""Which plugins there are: our own, and those of other packages (the entry point group ``alula.plugins``).

A package says, for example: ``[project.entry-points."alula.plugins"] weather = "weather.plugin:WeatherPlugin"``. The
entry point is a plugin (see `plugins/base.py`), or is called without arguments to make one. Those for jobs elsewhere
are in the group ``alula.remotes``; they are called with `Offers` to make a `Remote`.
"""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from alula.base.settings import Connector
from alula.kube.objects import Kind
from alula.manager.plugins.base import Offers, Plugin, Remote
from alula.manager.plugins.clustered import ClusteredPlugin
from alula.manager.plugins.connector import ConnectorPlugin
from alula.manager.plugins.dask import DaskPlugin
from alula.manager.plugins.echo import EchoPlugin
from alula.manager.plugins.mpi import MPIPlugin
from alula.manager.plugins.pod import PodPlugin
from alula.manager.plugins.pytorch import PyTorchPlugin
from alula.manager.plugins.ray import RayPlugin
from alula.manager.plugins.sleep import SleepPlugin
from alula.manager.plugins.spark import SparkPlugin
from alula.manager.plugins.tensorflow import TensorFlowPlugin
from alula.manager.remote.calls import Endpoint, Wire
from alula.manager.remote.directory import Directory
from alula.manager.settings import Manager

_log = logging.getLogger(__name__)
_GROUP, _REMOTES = "alula.plugins", "alula.remotes"
_USUAL = Manager()
_PROMISED = ("knows", "again", "create", "get", "delete")  # of a `Remote`


@dataclass(frozen=True, slots=True)
class Plugins:
    """Plugins by task type. ``problems``: what could not be used, and why, in lines for the administrator."""

    by_type: Mapping[str, Plugin] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def own(settings: Manager = _USUAL) -> list[Plugin]:
    """Those of alula itself."""
    spark = settings.spark
    return [
        PodPlugin(),
        RayPlugin(settings.ray.dashboard, settings.ray.linger),
        SparkPlugin(spark.history, spark.conf, spark.service_account),
        DaskPlugin(settings.dask.dashboard),
        PyTorchPlugin(),
        MPIPlugin(),
        TensorFlowPlugin(),
        ClusteredPlugin(),
    ]


def installed(*, remotes: bool = False) -> list[EntryPoint]:
    """The entry points of other packages, in the order of their names."""
    return sorted(entry_points(group=_REMOTES if remotes else _GROUP), key=lambda one: one.name)


def remotes(settings: Manager, offers: Offers, others: Iterable[EntryPoint] = ()) -> Iterator[Remote | str]:
    """All plugins for jobs elsewhere, in the order in which they are asked, and what cannot be used, in words.

    Connectors come last: they say themselves what they are for, and could say anything.
    """
    yield SleepPlugin(offers.store)
    yield EchoPlugin(offers.store)
    if settings.batch is not None:
        try:
            from alula.manager.plugins.batch import BatchPlugin, client
        except ImportError as error:
            yield f"manager.batch needs another package ({error}): install alula[batch]"
        else:
            yield BatchPlugin(client(settings.batch), settings.batch)
    for entry in others:
        try:
            yield _remote(entry.load()(offers))
        except Exception as error:
            yield f"the plugin {entry.name} ({entry.value}) cannot be used: {type(error).__name__}: {error}"
            _log.debug("the plugin %s", entry.name, exc_info=True)
    if settings.connectors:
        wire = Wire(offers.steady)
        endpoints = [_endpoint(one) for one in settings.connectors.values()]
        yield ConnectorPlugin(wire, Directory(wire, endpoints, offers.steady), offers)


def _endpoint(told: Connector) -> Endpoint:
    return Endpoint(told.url.rstrip("/"), told.project, told.domain, told.timeout, told.idempotent)


def _remote(made: Any) -> Remote:
    for name in _PROMISED:
        if not callable(getattr(made, name, None)):
            raise TypeError(f"it has no method {name}")
    found: Remote = made
    return found


def load(own: Iterable[Plugin], others: Iterable[EntryPoint], override: Collection[str] = ()) -> Plugins:
    """All plugins. ``override``: the types for which other packages' plugins go before our own.

    A plugin that is broken harms no other.
    """
    by_type: dict[str, Plugin] = {task_type: plugin for plugin in own for task_type in plugin.types}
    ours = frozenset(by_type)
    problems: list[str] = []
    taken: dict[str, str] = {}
    for entry in others:
        try:
            plugin = _checked(entry.load())
        except Exception as error:
            problems.append(f"the plugin {entry.name} ({entry.value}) cannot be used: {type(error).__name__}: {error}")
            _log.debug("the plugin %s", entry.name, exc_info=True)
            continue
        for task_type in plugin.types:
            if task_type in ours and task_type not in override:
                problems.append(
                    f"the plugin {entry.name} does not get tasks of type {task_type}: alula has one for them; "
                    f'say override = ["{task_type}"] in the settings if it should'
                )
            elif task_type in taken:
                problems.append(
                    f"the plugin {entry.name} does not get tasks of type {task_type}: {taken[task_type]} does"
                )
            else:
                taken[task_type] = entry.name
                by_type[task_type] = plugin
    return Plugins(by_type, tuple(problems))


def _checked(found: object) -> Plugin:
    plugin: Any = found() if isinstance(found, type) or (callable(found) and not hasattr(found, "build")) else found
    for name in ("build", "observe"):
        if not callable(getattr(plugin, name, None)):
            raise TypeError(f"it has no method {name}")
    types, kinds = list(plugin.types), [plugin.kind, *plugin.parts]
    if isinstance(plugin.types, str) or not types or not all(isinstance(one, str) and one for one in types):
        raise TypeError("its types are not a list of names of task types")
    if not all(isinstance(one, Kind) for one in kinds):
        raise TypeError("its kind, or one of its parts, is no alula.kube.objects.Kind")
    made: Plugin = plugin
    return made
