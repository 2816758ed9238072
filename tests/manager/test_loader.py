"""Plugins of other packages: found, checked, and kept from harming others."""

import sys
from datetime import datetime
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest

from alula.base.settings import Connector
from alula.kube.objects import PODS, Kind, Object
from alula.manager.loader import load, own, remotes
from alula.manager.plugins.base import Offers
from alula.manager.plugins.pod import PodPlugin
from alula.manager.plugins.ray import RayPlugin
from alula.manager.plugins.spark import SparkPlugin
from alula.manager.remote.templates import NoStore
from alula.manager.settings import Batch, Manager, Ray, Spark


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


class Elsewhere:
    """A plugin for jobs elsewhere, as other packages have them."""

    def __init__(self, offers: Offers) -> None:
        self.offers = offers

    async def knows(self, task: Any) -> bool:
        return False

    def again(self, task: Any) -> bool:
        return False

    create = get = delete = knows


async def no_secrets(namespace: str, name: str) -> dict[str, str]:
    return {}


OFFERS = Offers(NoStore(), no_secrets, lambda: 0.0)


def test_plugins_for_jobs_elsewhere_are_asked_in_an_order(package: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["weather_package"], "Elsewhere", Elsewhere, raising=False)
    monkeypatch.setattr(sys.modules["weather_package"], "half", lambda _: object(), raising=False)
    settings = Manager(connectors={"one": Connector(url="http://a:1")}, batch=Batch(region="eu-west-1"))
    found = list(remotes(settings, OFFERS, [entry("Elsewhere"), entry("half"), entry("/no_such_package")]))
    kinds = [type(one).__name__ for one in found if not isinstance(one, str)]
    assert kinds == ["SleepPlugin", "EchoPlugin", "BatchPlugin", "Elsewhere", "ConnectorPlugin"]
    problems = [one for one in found if isinstance(one, str)]
    assert "TypeError: it has no method knows" in problems[0]
    assert "No module named 'no_such_package'" in problems[1]
    assert [type(one).__name__ for one in remotes(Manager(), OFFERS)] == ["SleepPlugin", "EchoPlugin"]


def test_our_own_do_as_the_settings_say() -> None:
    settings = Manager(ray=Ray(dashboard="https://d/{{.rayJobID}}", linger=5), spark=Spark(conf={"a": "b"}))
    plugins = own(settings)
    ray = next(one for one in plugins if isinstance(one, RayPlugin))
    assert (ray.dashboard, ray.linger) == ("https://d/{{.rayJobID}}", 5)
    spark = next(one for one in plugins if isinstance(one, SparkPlugin))
    assert (dict(spark.conf), spark.service_account) == ({"a": "b"}, "spark")
