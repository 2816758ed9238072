"""The values of secrets are not in what is told of a cluster's attempts, whatever their pods say."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from alula.core.launch import Launch, LogLine, Observation, Presence
from alula.core.taskaction import Cause
from alula.executors.cluster.hiding import Hiding
from alula.kube.objects import Refused
from tests.kube.cluster import Cluster, cluster, real_kubeconfig
from tests.kube.fates import End, Fate
from tests.manager.managed import managing

from .test_cluster import executing, launch

__all__ = ["cluster", "real_kubeconfig"]
TOKEN = "hunter2-hunter22"  # begins with what it goes on with
KEY = "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA\nx==\n"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"the token is {TOKEN}.", "the token is ***."),
        ("hunter2-hunter", "hunter2-hunter"),
        (f"{TOKEN}{TOKEN}", "******"),
        ("MIIEpAIBAAKCAQEA", "***"),
        ("x==", "x=="),  # too short: it is found everywhere
        ("a.b.c.d", "***"),
        ("aXbXcXd", "aXbXcXd"),
    ],
)
def test_every_line_of_a_secret_is_hidden(said: str, shown: str) -> None:
    assert Hiding([TOKEN, KEY, "a.b.c.d", ""]).text(said) == shown


def test_the_longest_is_hidden() -> None:
    assert Hiding(["secret", "secretive"]).text("secretive secrets") == "*** ***s"


def test_all_is_hidden_if_need_be() -> None:
    assert Hiding.everything().text("one\n\ntwo words") == "***\n\n***"


def test_who_has_no_secrets_says_what_it_says() -> None:
    assert Hiding([]).text("anything") == "anything"
    assert "secret" not in repr(Hiding(["secretive"]))


async def test_in_logs_and_in_what_is_seen() -> None:
    async def said() -> AsyncIterator[list[LogLine]]:
        yield [LogLine(datetime.now(UTC), f"{TOKEN}\n"), LogLine(datetime.now(UTC), "more\n")]

    hiding = Hiding([TOKEN])
    assert [line.text async for lines in hiding.lines(said()) for line in lines] == ["***\n", "more\n"]
    seen = Observation(Presence.EXITED, cause=Cause("C", f"last words: {TOKEN}"), notes=(TOKEN, "note"))
    assert hiding.seen(seen) == replace(seen, cause=Cause("C", "last words: ***"), notes=("***", "note"))


def secretive() -> Launch:
    ready = launch(secret="r1-a0.secret", secret_env=("TOKEN",))
    return replace(ready, env={"TOKEN": TOKEN}, hidden=frozenset({"TOKEN"}))


@pytest.mark.parametrize("again", [False, True], ids=["in one life", "after a restart"])
async def test_a_task_that_tells_its_secret(cluster: Cluster, again: bool) -> None:
    ready, said = secretive(), f"it is {TOKEN}"
    cluster.kubelet.script = lambda _: Fate(End.FAILED, after=0.1, log=(said,), last_words=said)
    async with executing(cluster) as bench, managing(cluster.kubeconfig, cluster.namespace):
        await bench.executor.submit(ready)
        await bench.over(ready.name)
        if again:
            bench.executor._hidings.clear()  # what another replica, or a later life, does not know
        seen = await bench.over(ready.name)
        assert seen.cause is not None
        assert seen.cause.message.endswith("it is ***")
        assert await bench.said(ready.name) == "it is ***\n"
        assert await bench.said(ready.name, follow=False) == "it is ***\n"
        await bench.executor.release(ready.name)
        assert bench.logs == {ready.name: "it is ***\n"}


@pytest.mark.parametrize("cluster", ["memory"], indirect=True)
async def test_where_secrets_may_not_be_looked_at_nothing_is_shown_and_all_ends(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forbidden(*_: str) -> list[str]:
        raise Refused("secrets is forbidden", "Forbidden")

    ready, said = secretive(), f"it is {TOKEN}"
    cluster.kubelet.script = lambda _: Fate(End.FAILED, after=0.1, log=(said,), last_words=said)
    async with executing(cluster) as bench, managing(cluster.kubeconfig, cluster.namespace):
        await bench.executor.submit(ready)
        await bench.over(ready.name)
        bench.executor._hidings.clear()
        monkeypatch.setattr(bench.executor._secrets, "values", forbidden)
        seen = await bench.over(ready.name)
        assert seen.cause is not None
        assert set(seen.cause.message) <= set("*\n")
        assert await bench.said(ready.name) == "***\n"
        await bench.executor.release(ready.name)
        assert bench.logs == {ready.name: "***\n"}
