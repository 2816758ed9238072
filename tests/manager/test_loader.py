"""Plugins of other packages: found, checked, and kept from harming others."""

import sys
from datetime import datetime
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest

from alula.kube.objects import PODS, Kind, Object
from alula.manager.loader import load, own
from alula.manager.plugins.pod import PodPlugin


class Weather:
    types: Any = ("weather",)
    kind: Any = Kind("weather.example", "v1", "Forecast", "forecasts")
    parts: Any = (PODS,)

    def build(self, task: Any) -> Object:
        return {}

    def observe(self, task: Any, found: Object, parts: Any, now: datetime) -> Any:
        raise NotImplementedError


class OwnContainers(Weather):
    types = ("container", "weather")


class Typeless(Weather):
    types = "weather"


class Kindless(Weather):
    kind = "Pod"


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("weather_package")
    found = {"Weather": Weather, "instance": Weather(), "OwnContainers": OwnContainers, "Typeless": Typeless}
    module.__dict__.update({**found, "Kindless": Kindless, "nothing": object(), "fails": lambda: 1 // 0})
    monkeypatch.setitem(sys.modules, "weather_package", module)


def entry(what: str, name: str = "one") -> EntryPoint:
    return EntryPoint(name, f"weather_package:{what}" if what[0] != "/" else f"{what[1:]}:X", "alula.plugins")


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("what", ["Weather", "instance"])
def test_a_plugin_is_a_class_or_an_object(what: str) -> None:
    found = load([PodPlugin()], [entry(what)])
    assert isinstance(found.by_type["weather"], Weather)
    assert isinstance(found.by_type["container"], PodPlugin)
    assert found.problems == ()


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("/no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("missing", "AttributeError"),
        ("fails", "ZeroDivisionError"),
        ("nothing", "TypeError: it has no method build"),
        ("Typeless", "its types are not a list of names"),
        ("Kindless", "is no alula.kube.objects.Kind"),
    ],
)
def test_a_broken_one_is_told_of_and_harms_no_other(what: str, why: str) -> None:
    found = load([PodPlugin()], [entry(what, "broken"), entry("Weather")])
    (problem,) = found.problems
    assert problem.startswith("the plugin broken (")
    assert why in problem
    assert isinstance(found.by_type["weather"], Weather)


@pytest.mark.usefixtures("package")
def test_our_own_go_first_unless_the_settings_say_so() -> None:
    others = [entry("OwnContainers")]
    found = load([PodPlugin()], others)
    assert isinstance(found.by_type["container"], PodPlugin)
    assert isinstance(found.by_type["weather"], OwnContainers)
    (problem,) = found.problems
    assert 'override = ["container"]' in problem
    found = load([PodPlugin()], others, ["container"])
    assert isinstance(found.by_type["container"], OwnContainers)
    assert found.problems == ()


@pytest.mark.usefixtures("package")
def test_of_two_for_a_type_the_first_by_name_gets_it() -> None:
    found = load([], [entry("Weather", "a"), entry("OwnContainers", "b")])
    assert type(found.by_type["weather"]) is Weather
    assert found.problems == ("the plugin b does not get tasks of type weather: a does",)


def test_our_own_have_types_of_their_own() -> None:
    types = [task_type for plugin in own() for task_type in plugin.types]
    assert len(types) == len(set(types))
    assert {"container", "python", "sidecar", "ray", "spark", "dask", "pytorch", "mpi", "tensorflow"} <= set(types)
