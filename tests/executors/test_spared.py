"""What a warm parent or a reusable worker spares attempts: the SDK says the same as before, and does it once or not."""

import asyncio
import importlib
import inspect
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from flyte._cache.cache import VersionParameters
from flyte._cache.policy_function_body import FunctionBodyPolicy

from alula.executors.process import rehearse, warm
from alula.executors.process.reuse import runtime


async def one(x: int) -> int:
    return x


async def other(x: int) -> int:
    return x + 1


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The functions whose source is read."""
    read: list[object] = []
    real: Callable[[Any], str] = inspect.getsource

    def getsource(thing: Any) -> str:
        read.append(thing)
        return real(thing)

    monkeypatch.setattr(inspect, "getsource", getsource)
    return read


def test_a_function_is_hashed_once(monkeypatch: pytest.MonkeyPatch, sources: list[object]) -> None:
    asked = [("", one), ("salt", one), ("", other)]
    plain = [FunctionBodyPolicy().get_version(salt, VersionParameters(func)) for salt, func in asked]
    monkeypatch.setattr(FunctionBodyPolicy, "get_version", FunctionBodyPolicy.get_version)
    warm._hash_functions_once()
    sources.clear()
    for _ in range(3):
        assert [FunctionBodyPolicy().get_version(salt, VersionParameters(func)) for salt, func in asked] == plain
    assert sources == [one, one, other]
    assert FunctionBodyPolicy().get_version("", VersionParameters(func=None)) == ""
    assert len(set(plain)) == 3


def test_the_patterns_of_descriptions_are_compiled_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    from flyte._docstring import Docstring

    importlib.import_module("flyte._internal.runtime.convert")

    def described(x: int) -> int:
        """Do it.

        Parameters
        ----------
        x : int
            The one.
        """
        return x

    compiled: list[str] = []
    real: Callable[..., Any] = re._compiler.compile  # type: ignore[attr-defined]

    def compile_(pattern: Any, flags: int = 0) -> Any:
        compiled.append(pattern)
        return real(pattern, flags)

    monkeypatch.setattr(re._compiler, "compile", compile_)  # type: ignore[attr-defined]
    re.purge()
    rehearse._task()
    assert compiled
    compiled.clear()
    assert Docstring(callable_=described).input_descriptions == {"x": "The one."}
    assert compiled == []


def test_the_end_of_an_attempt_that_called_nobody_is_told_to_nobody() -> None:
    ended = []

    async def finalize(action: Any) -> None:
        ended.append(action.name)

    controller = SimpleNamespace(finalize_parent_action=finalize, _informers=SimpleNamespace(_cache={"r.parent": 1}))
    runtime._end_parents_only(controller)
    for name in ("alone", "parent"):
        asyncio.run(controller.finalize_parent_action(SimpleNamespace(run_name="r", name=name)))
    assert ended == ["parent"]


def test_a_controller_names_those_who_call_as_is_expected() -> None:
    from flyte._internal.controllers.remote._informer import Informer, InformerCache

    assert Informer.mkname(run_name="r", parent_action_name="a") == "r.a"
    assert InformerCache()._cache == {}  # type: ignore[no-untyped-call]
