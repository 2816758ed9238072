"""Which plugins there are: our own, and those of other packages (the entry point group ``alula.plugins``).

A package says, for example: ``[project.entry-points."alula.plugins"] weather = "weather.plugin:WeatherPlugin"``. The
entry point is a plugin (see `plugins/base.py`), or is called without arguments to make one.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from alula.kube.objects import Kind
from alula.manager.plugins.base import Plugin
from alula.manager.plugins.clustered import ClusteredPlugin
from alula.manager.plugins.dask import DaskPlugin
from alula.manager.plugins.mpi import MPIPlugin
from alula.manager.plugins.pod import PodPlugin
from alula.manager.plugins.pytorch import PyTorchPlugin
from alula.manager.plugins.ray import RayPlugin
from alula.manager.plugins.spark import SparkPlugin
from alula.manager.plugins.tensorflow import TensorFlowPlugin

_log = logging.getLogger(__name__)
_GROUP = "alula.plugins"


@dataclass(frozen=True, slots=True)
class Plugins:
    """Plugins by task type. ``problems``: what could not be used, and why, in lines for the administrator."""

    by_type: Mapping[str, Plugin] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def own() -> list[Plugin]:
    """Those of alula itself."""
    return [
        PodPlugin(),
        RayPlugin(),
        SparkPlugin(),
        DaskPlugin(),
        PyTorchPlugin(),
        MPIPlugin(),
        TensorFlowPlugin(),
        ClusteredPlugin(),
    ]


def installed() -> list[EntryPoint]:
    """The entry points of other packages, in the order of their names."""
    return sorted(entry_points(group=_GROUP), key=lambda one: one.name)


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
