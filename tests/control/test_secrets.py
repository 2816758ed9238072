"""Secrets: kept encrypted, found by scope, handed to the tasks that may see them."""

from dataclasses import replace

import pytest

from alula.control.secrets import LARGEST
from alula.core.errors import AlreadyExists, Conflict, Invalid, LaunchRefused, NotFound
from alula.core.pages import Page
from alula.core.project import Project
from alula.core.scope import Scope
from alula.core.secret import SecretId, SecretType
from alula.secrets.cipher import Cipher

from .world import World

ORG, DOMAIN, PROJECT = Scope(), Scope("development"), Scope("development", "p")
GENERIC, IMAGE_PULL = SecretType


async def keep(world: World, scope: Scope, name: str, value: bytes = b"value") -> SecretId:
    secret = SecretId(scope, name)
    await world.secrets.create(secret, value, GENERIC)
    return secret


async def test_the_narrowest_one_is_used(world: World) -> None:
    await keep(world, ORG, "a", b"org")
    await keep(world, ORG, "b", b"org")
    await keep(world, DOMAIN, "b", b"domain")
    await keep(world, ORG, "c", b"org")
    await keep(world, DOMAIN, "c", b"domain")
    await keep(world, PROJECT, "c", b"project")
    await keep(world, Scope("staging"), "d", b"staging")
    names = ["a", "b", "c", "d", "missing", "a"]
    found = await world.secrets.resolve("p", "development", names)
    assert found == {"a": b"org", "b": b"domain", "c": b"project"}
    assert await world.secrets.resolve("q", "development", names) == {"a": b"org", "b": b"domain", "c": b"domain"}
    found = await world.secrets.resolve("p", "staging", names)
    assert found == {"a": b"org", "b": b"org", "c": b"org", "d": b"staging"}
    assert await world.secrets.resolve("p", "development", []) == {}


async def test_scopes_are_apart(world: World) -> None:
    secret = await keep(world, DOMAIN, "token")
    for scope in (ORG, PROJECT, Scope("staging")):
        other = replace(secret, scope=scope)
        with pytest.raises(NotFound, match="flyte create secret token"):
            await world.secrets.get(other)
        with pytest.raises(NotFound):
            await world.secrets.update(other, b"x", GENERIC)
        with pytest.raises(NotFound):
            await world.secrets.delete(other)
    assert (await world.secrets.get(secret)).id == secret


async def test_create_update_delete(world: World) -> None:
    secret = await keep(world, PROJECT, "token", b"old")
    first = await world.secrets.get(secret)
    with pytest.raises(AlreadyExists):
        await world.secrets.create(secret, b"other", GENERIC)
    assert await world.secrets.resolve("p", "development", ["token"]) == {"token": b"old"}
    await world.secrets.update(secret, b"new", IMAGE_PULL)
    assert await world.secrets.get(secret) == replace(first, type=IMAGE_PULL)
    assert await world.secrets.resolve("p", "development", ["token"]) == {"token": b"new"}
    await world.secrets.delete(secret)
    assert await world.secrets.resolve("p", "development", ["token"]) == {}
    with pytest.raises(NotFound):
        await world.secrets.delete(secret)


async def test_what_cannot_be_kept(world: World) -> None:
    await world.secrets.create(SecretId(ORG, "large"), b"x" * LARGEST, GENERIC)
    with pytest.raises(Invalid, match="secret_spec"):
        await world.secrets.create(SecretId(ORG, "larger"), b"x" * (LARGEST + 1), GENERIC)
    with pytest.raises(Invalid, match="secret_spec"):
        await world.secrets.update(SecretId(ORG, "large"), b"x" * (LARGEST + 1), GENERIC)
    for scope in (Scope("production"), Scope("development", "missing")):
        with pytest.raises(NotFound):
            await keep(world, scope, "token")


async def test_lists_are_of_a_scope_and_what_is_narrower(world: World) -> None:
    await world.projects.create(Project("q", "q", "", {}, 0))
    scopes = (ORG, DOMAIN, PROJECT, Scope("development", "q"), Scope("staging"), Scope("staging", "p"))
    for scope in scopes:
        await keep(world, scope, "token")

    async def listed(scope: Scope) -> set[Scope]:
        found, token, limit = set[Scope](), "", 2
        while True:
            page, token = await world.secrets.page(scope, Page(limit=limit, token=token))
            assert len(page) <= limit
            found |= {secret.id.scope for secret in page}
            if not token:
                return found

    assert await listed(ORG) == set(scopes)
    assert await listed(DOMAIN) == set(scopes[1:4])
    assert await listed(PROJECT) == {PROJECT}


async def test_a_page_stays_right_while_secrets_come_and_go(world: World) -> None:
    kept = {f"s{n:02}" for n in range(0, 40, 2)}
    for name in kept:
        await keep(world, ORG, name)
    seen, token = list[str](), ""
    for n in range(1, 40, 2):
        page, token = await world.secrets.page(ORG, Page(limit=3, token=token))
        seen += [secret.id.name for secret in page]
        if not token:
            break
        await keep(world, ORG, f"s{n:02}")
    assert not token
    assert kept <= set(seen)
    assert len(set(seen)) == len(seen)


async def test_nothing_is_readable_in_the_database(world: World) -> None:
    await keep(world, ORG, "token", b"hunter2-hunter2")
    rows = await world.database.read(lambda tx: tx.all("SELECT * FROM secrets"))
    assert b"hunter2" not in b"".join(bytes(str(value), "utf-8") if not isinstance(value, bytes) else value
                                      for row in rows for value in tuple(row))  # fmt: skip
    assert "hunter2" not in repr(await world.secrets.page(ORG, Page()))


async def test_keys_are_replaced_and_a_lost_one_is_told(world: World) -> None:
    secret = await keep(world, ORG, "token", b"old")
    rotated = replace(world.secrets, cipher=Cipher([b"n" * 32, b"k" * 32]))
    assert await rotated.resolve("p", "development", ["token"]) == {"token": b"old"}
    lost = replace(world.secrets, cipher=Cipher([b"n" * 32]))
    with pytest.raises(LaunchRefused, match="a key that this server does not have") as refused:
        await lost.resolve("p", "development", ["token"])
    assert refused.value.code == "SecretUnreadable"
    await rotated.update(secret, b"new", GENERIC)
    assert await lost.resolve("p", "development", ["token"]) == {"token": b"new"}


async def test_a_row_moved_to_another_scope_opens_nothing(world: World) -> None:
    """Who can write the database, but has no key, cannot hand a task the secret of another project."""
    await keep(world, PROJECT, "token", b"of p alone")
    await world.database.write(lambda tx: tx.execute("UPDATE secrets SET project = 'q' WHERE name = 'token'"))
    with pytest.raises(LaunchRefused, match="not what was stored"):
        await world.secrets.resolve("q", "development", ["token"])


async def test_a_domain_with_secrets_stays(world: World) -> None:
    secret = await keep(world, Scope("staging"), "token")
    with pytest.raises(Conflict, match="has secrets"):
        await world.projects.domains.delete("staging")
    await world.secrets.delete(secret)
    await world.projects.domains.delete("staging")
