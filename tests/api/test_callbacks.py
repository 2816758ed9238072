"""The links that answer conditions, over HTTP, with the real verb behind them."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from flyteidl2.core import literals_pb2, types_pb2
from flyteidl2.workflow import run_definition_pb2

from alula.api.callbacks import Callbacks
from alula.core import callback
from alula.core.action import Kind, TaskRef
from alula.core.ids import ROOT, ActionId
from alula.core.phase import Phase
from alula.wire.conditions import type_name
from tests.control.world import Ticking, World, child, opened

KEY = callback.key("secret")
TYPES = {"b": types_pb2.BOOLEAN, "i": types_pb2.INTEGER, "f": types_pb2.FLOAT, "s": types_pb2.STRING}
HTML = {"accept": "text/html,*/*"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A run that asks for a value of each type."""
    async with opened(tmp_path, Ticking()) as world:
        root = await world.start()
        for name, kind in TYPES.items():
            asked = run_definition_pb2.ConditionAction(name=name, prompt="<b>Go on?</b>", description="It is & late.")
            asked.type.simple = kind
            task = TaskRef(name=name, short_name=name, type=type_name(asked))
            new = child(name, kind=Kind.CONDITION, phase=Phase.PAUSED, spec=asked.SerializeToString(), task=task)
            await world.actions.enqueue(root.id.run, new)
        yield world


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Callbacks(world.conditions, KEY))
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        yield client


@pytest.fixture
def link(world: World) -> Callable[[str], str]:
    return lambda name: callback.uri("http://here", KEY, world.id(name))


async def answer(world: World, name: str) -> Any:
    action = await world.get(name)
    primitive = literals_pb2.Literal.FromString(action.value).scalar.primitive
    return getattr(primitive, str(primitive.WhichOneof("value"))) if action.value else None


Link = Callable[[str], str]


async def test_the_question_is_shown_and_not_answered(world: World, client: httpx.AsyncClient, link: Link) -> None:
    shown = await client.get(link("b"))
    assert shown.status_code == 200
    assert shown.json() == {
        "action": "p/development/r/b",
        "prompt": "<b>Go on?</b>",
        "description": "It is & late.",
        "type": "boolean",
        "phase": "PAUSED",
        "answered_by": "",
    }
    head = await client.head(link("b"))
    assert (head.status_code, head.content) == (200, b"")
    assert (await world.get("b")).phase is Phase.PAUSED


async def test_a_browser_gets_a_form_and_no_markup_of_others(client: httpx.AsyncClient, link: Link) -> None:
    page = await client.get(link("b"), headers=HTML)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "&lt;b&gt;Go on?&lt;/b&gt;" in page.text
    assert "It is &amp; late." in page.text
    assert '<form method="post">' in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert (page.headers["cache-control"], page.headers["referrer-policy"]) == ("no-store", "no-referrer")


@pytest.mark.parametrize(
    ("name", "body", "kind", "expected"),
    [
        ("b", "true", "application/json", True),
        ("b", '{"value": false}', "application/json", False),
        ("b", "value=true", "application/x-www-form-urlencoded", True),
        ("b", "value=false", "application/x-www-form-urlencoded; charset=utf-8", False),
        ("b", " YES\n", "text/plain", True),
        ("i", "42", "", 42),
        ("i", "value=-7", "application/x-www-form-urlencoded", -7),
        ("f", "2", "application/json", 2.0),
        ("f", '{"value": 0.5}', "application/json", 0.5),
        ("f", "value=1e3", "application/x-www-form-urlencoded", 1000.0),
        ("s", '"é"', "application/json", "é"),
        ("s", "a\nb", "text/plain", "a\nb"),
        ("s", "value=a%20%26+b", "application/x-www-form-urlencoded", "a & b"),
        ("s", "value=", "application/x-www-form-urlencoded", ""),
    ],
)
async def test_an_answer_resolves_the_condition(
    world: World, client: httpx.AsyncClient, link: Link, name: str, body: str, kind: str, expected: Any
) -> None:
    headers = {"content-type": kind} if kind else {}
    told = await client.post(link(name), content=body.encode(), headers=headers)
    assert told.status_code == 200, told.text
    assert (told.json()["phase"], told.json()["answered_by"]) == ("SUCCEEDED", "callback link")
    found = await answer(world, name)
    assert (found, type(found)) == (expected, type(expected))


async def test_the_same_answer_again_is_fine_and_another_is_not(
    world: World, client: httpx.AsyncClient, link: Link
) -> None:
    assert [(await client.post(link("b"), json=value)).status_code for value in (True, True, False)] == [200, 200, 409]
    assert await answer(world, "b") is True
    page = await client.get(link("b"), headers=HTML)
    assert "<form" not in page.text
    assert "answered" in page.text


@pytest.mark.parametrize(
    ("name", "body", "kind"),
    [
        ("b", "", ""),
        ("b", "1", "application/json"),
        ("b", '"true"', "application/json"),
        ("b", "maybe", "text/plain"),
        ("b", '{"answer": true}', "application/json"),
        ("b", "{", "application/json"),
        ("b", "[" * 60_000, "application/json"),
        ("b", "value=true&value=false", "application/x-www-form-urlencoded"),
        ("b", "other=true", "application/x-www-form-urlencoded"),
        ("b", "&".join(["value=true"] * 200), "application/x-www-form-urlencoded"),
        ("i", "1.5", "application/json"),
        ("i", "true", "application/json"),
        ("i", str(2**63), "application/json"),
        ("i", "9" * 10_000, "text/plain"),
        ("i", "9" * 10_000, "application/json"),
        ("f", '"x"', "application/json"),
        ("s", "5", "application/json"),
        ("s", "null", "application/json"),
        ("b", b"\xff\xfe", "text/plain"),
    ],
)
async def test_what_is_no_answer_is_refused_and_leaves_the_question(
    world: World, client: httpx.AsyncClient, link: Link, name: str, body: str | bytes, kind: str
) -> None:
    content = body if isinstance(body, bytes) else body.encode()
    told = await client.post(link(name), content=content, headers={"content-type": kind})
    assert told.status_code == 400, told.text
    assert told.json()["error"]
    assert (await world.get(name)).phase is Phase.PAUSED


async def test_an_answer_has_a_limit(client: httpx.AsyncClient, link: Link) -> None:
    assert (await client.post(link("s"), content=b"x" * 100_000)).status_code == 413


async def test_other_links_lead_nowhere(world: World, client: httpx.AsyncClient, link: Link) -> None:
    elsewhere = callback.uri("http://here", callback.key("other"), world.id("b"))
    gone = callback.uri("http://here", KEY, ActionId(world.id("b").run, "gone"))
    no_condition = callback.uri("http://here", KEY, world.id(ROOT))
    statuses = [(await client.post(url, json=True)).status_code for url in (elsewhere, gone, no_condition)]
    assert statuses == [404, 404, 409]
    assert (await client.get("http://here/v2/callbacks/")).status_code == 404
    assert (await client.delete(link("b"))).status_code == 405
    page = await client.get(elsewhere, headers=HTML)
    assert (page.status_code, "not one of this server" in page.text) == (404, True)
    assert json.loads((await client.get(elsewhere)).text)["error"].startswith("this link")
