"""Telling people: each rule, once, whatever happens in between."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from alula.base.settings import Mailing
from alula.control.notices import LEASE
from alula.core.callback import verified
from alula.core.message import Message
from alula.core.notice import Delivered, Outcome, State
from alula.core.phase import Phase
from alula.reconciler import outbox
from alula.storage.address import Address
from alula.wire import notices as wire
from tests.control.world import Wall, opened

from .news import KEY, Fails, Newsroom, hook, mail
from .receivers import OK, hooks, mailbox, status
from .test_crash import Death, Fuse, Mortal

ENDS = [Phase.SUCCEEDED, Phase.FAILED, Phase.ABORTED, Phase.TIMED_OUT]


@pytest.fixture(autouse=True)
def _no_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may need the tick, which finds what hints missed."""
    monkeypatch.setattr(outbox, "_TICK", 3600.0)


@pytest.fixture
async def room(tmp_path: Path, address: Address) -> AsyncIterator[Newsroom]:
    async with opened(tmp_path, Wall(), address) as world:
        yield Newsroom(world)


@pytest.mark.parametrize("end", ENDS)
async def test_the_rules_of_a_phase_are_told_and_no_others(room: Newsroom, end: Phase) -> None:
    async with hooks() as receiver, room.at_work():
        both = hook(f"{receiver.url}/both", Phase.SUCCEEDED, Phase.FAILED, body="{{.Run.Name}} {{.Phase}} {{.Error}}")
        others = [hook(f"{receiver.url}/{phase.name}", phase) for phase in ENDS]
        await room.begin(both, *others)
        await room.end(end)
        expected = {f"/{end.name}", *(["/both"] if end in (Phase.SUCCEEDED, Phase.FAILED) else [])}
        assert set((await room.told(len(expected))).values()) == {State.SENT}
    assert Counter(got.path for got in receiver.got) == Counter(expected)
    if end is Phase.FAILED:
        assert {got.body for got in receiver.got} == {b"FAILED", b"r FAILED boom"}
    assert await room.notes() == []


async def test_a_run_without_rules_tells_nobody(room: Newsroom) -> None:
    await room.begin()
    await room.end()
    await room.notices.open()
    assert await room.deliveries() == []


async def test_mail_goes_to_each_recipient_for_himself(room: Newsroom) -> None:
    async with mailbox() as box:
        box.refusals["b@x.example"] = "550 nobody of that name"
        room.mailing = Mailing("127.0.0.1", "alula@x.example", port=box.port, security="none")
        async with room.at_work():
            await room.begin(mail("a@x.example", "b@x.example", "a@x.example"))
            await room.end(error="<b>\nline")
            told = await room.told(2)
    assert told == {"rules[0].email:a@x.example": State.SENT, "rules[0].email:b@x.example": State.FAILED}
    ((recipients, message),) = box.got
    assert recipients == ["a@x.example"]
    assert (message["Subject"], message.get_content().split()) == ("r", ["<b>", "line"])
    (note,) = await room.notes()
    assert note.text == (
        "notification rules[0].email:b@x.example of FAILED was not sent: "
        "the SMTP server answered 550 nobody of that name"
    )


async def test_the_rules_that_the_sdk_makes(room: Newsroom) -> None:
    """Slack, Teams and webhooks as `flyte.notify` serialises them; an error with quotes leaves JSON whole."""
    from flyte import notify
    from flyte._internal.runtime.notifications_serde import resolve_notification_settings
    from flyte.models import ActionPhase

    failed = ActionPhase.FAILED
    async with hooks() as receiver, room.at_work():
        _, rules = resolve_notification_settings(
            (
                notify.Slack(
                    on_phase=failed, webhook_url=f"{receiver.url}/slack", message="🚨 {{.Run.Name}}: {{.Error}}"
                ),
                notify.Teams(on_phase=failed, webhook_url=f"{receiver.url}/teams"),
                notify.Webhook(
                    on_phase=(failed,), url=receiver.url + "/{{.Run.Name}}", headers={"X-Phase": "{{.Phase}}"}
                ),
            )
        )
        assert rules is not None
        await room.begin(*rules.rules)
        await room.end(error='a "quoted"\nerror')
        assert set((await room.told(3)).values()) == {State.SENT}
    got = {request.path: request for request in receiver.got}
    assert json.loads(got["/slack"].body) == {"text": '🚨 r: a "quoted"\nerror'}
    assert json.loads(got["/teams"].body)["title"] == "Run r FAILED"
    assert json.loads(got["/r"].body) == {
        "run": "r",
        "project": "p",
        "domain": "development",
        "phase": "FAILED",
        "error": 'a "quoted"\nerror',
    }
    assert (got["/r"].headers["x-phase"], got["/r"].headers["content-type"]) == ("FAILED", "application/json")


async def test_rules_and_deliveries_of_the_settings(room: Newsroom) -> None:
    async with hooks() as receiver:
        delivery = {"webhook": {"url": receiver.url, "method": "HTTP_METHOD_POST", "bodyTemplate": "{{.Phase}}"}}
        failed = ["ACTION_PHASE_FAILED"]
        rules = {
            "oncall": {
                "rules": [
                    {"onPhases": failed, "deliveryConfigName": "slack"},
                    {"onPhases": failed, "deliveryConfigName": "gone"},
                ]
            }
        }
        room.book = wire.book(rules, {"slack": delivery}, {})
        room.notices = room.verbs()
        async with room.at_work():
            await room.begin(named="oncall")
            await room.end()
            assert await room.told(2) == {"rules[0].webhook": State.SENT, "rules[1]": State.FAILED}
            await room.begin(named="nobody", run="other")
            await room.end(run="other")
            assert await room.told(1, "other") == {"rules": State.FAILED}
    assert len(receiver.got) == 1
    assert "there is no delivery config 'gone'" in (await room.notes())[0].text
    assert "there is no notification rule 'nobody'" in (await room.notes(run="other"))[0].text


async def test_what_is_wrong_with_a_rule_is_noted_and_harms_no_other(room: Newsroom) -> None:
    async with hooks() as receiver, room.at_work():
        await room.begin(
            hook(receiver.url, Phase.FAILED, body="{{.Nothing}}"),
            hook("http://user:secret@10.0.0.1/secret", Phase.FAILED),
            hook(receiver.url, Phase.FAILED, Host="inside"),
            mail("a@x.example"),
            hook(receiver.url, Phase.FAILED),
        )
        await room.end()
        told = await room.told(5)
    assert [state for _, state in sorted(told.items())] == [*[State.FAILED] * 4, State.SENT]
    assert [got.body for got in receiver.got] == [b"FAILED"]
    notes = " ".join(note.text for note in await room.notes())
    assert "no 'Nothing' here" in notes
    assert "10.0.0.1: an address that webhooks may not call" in notes
    assert "'Host' is not a header that a rule can set" in notes
    assert "no SMTP server" in notes
    assert "secret" not in notes


async def test_what_was_not_taken_is_tried_again_under_one_key(room: Newsroom) -> None:
    async with hooks() as receiver, room.at_work():
        receiver.answers = [status(503), status(429, "Retry-After: 0"), OK]
        await room.begin(hook(receiver.url, Phase.FAILED))
        await room.end()
        assert await room.told() == {"rules[0].webhook": State.SENT}
    assert len(receiver.got) == 3
    assert len({got.headers["idempotency-key"] for got in receiver.got}) == 1
    assert await room.notes() == []


async def test_a_receiver_that_is_away_is_waited_for(room: Newsroom) -> None:
    async with hooks() as gone:
        port = gone.port
    async with room.at_work():
        await room.begin(hook(gone.url, Phase.FAILED))
        await room.end()
        assert "cannot be reached" in (await room.tried(1)).error
        async with hooks(port) as receiver:
            assert await room.told() == {"rules[0].webhook": State.SENT}
    assert len(receiver.got) == 1


async def test_it_is_given_up_after_a_day(room: Newsroom) -> None:
    async with hooks() as receiver:
        receiver.answers = [status(500)]
        await room.begin(hook(receiver.url, Phase.FAILED))
        await room.end()
        room.ahead = timedelta(days=1)
        async with room.at_work():
            assert await room.told() == {"rules[0].webhook": State.FAILED}
    (note,) = await room.notes()
    assert "it answered 500; given up after 1 tries" in note.text


async def test_what_may_have_arrived_is_not_sent_again(room: Newsroom) -> None:
    async def hang_up(writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with hooks() as receiver, room.at_work():
        receiver.answers = [hang_up]
        await room.begin(hook(receiver.url, Phase.FAILED))
        await room.end()
        assert await room.told() == {"rules[0].webhook": State.UNKNOWN}
    assert len(receiver.got) == 1
    assert "may not have been sent" in (await room.notes())[0].text


async def test_a_condition_calls_its_webhook_and_the_rules(room: Newsroom) -> None:
    async with hooks() as receiver, room.at_work():
        rule = hook(f"{receiver.url}/rule", Phase.PAUSED, body="{{.Action.Name}}: {{.Prompt}} {{.PromptType}}")
        await room.begin(rule, hook(f"{receiver.url}/end", Phase.FAILED))
        await room.ask("c1", f"{receiver.url}/own", {"see": "at {callback_uri}", "n": 5, "list": ["{callback_uri}"]})
        assert await room.told(2) == {"condition.webhook": State.SENT, "rules[0].webhook": State.SENT}
    got = {request.path: request for request in receiver.got}
    assert got["/rule"].body == b"c1: Go on? text"
    payload = json.loads(got["/own"].body)
    link = payload["list"][0]
    assert payload == {"see": f"at {link}", "n": 5, "list": [link]}
    server, _, token = link.rpartition("/v2/callbacks/")
    assert (server, verified(KEY, token)) == ("http://here", room.world.id("c1"))


async def test_a_conditions_webhook_needs_no_rules_and_obeys_the_same_policy(room: Newsroom) -> None:
    async with room.at_work():
        await room.begin()
        await room.ask("c1", "http://169.254.169.254/latest/meta-data")
        assert await room.told() == {"condition.webhook": State.FAILED}
    assert "may not call" in (await room.notes("c1"))[0].text
    assert (await room.world.get("c1")).phase is Phase.PAUSED


async def test_several_servers_tell_everybody_once(room: Newsroom) -> None:
    names = [f"r{n}" for n in range(10)]
    async with hooks() as receiver, room.at_work(3):
        for name in names:
            await room.begin(*(hook(f"{receiver.url}/{name}/{n}", Phase.FAILED) for n in range(3)), run=name)
        await asyncio.gather(*(room.end(run=name) for name in names))
        for name in names:
            assert set((await room.told(3, name)).values()) == {State.SENT}
    counts = Counter(got.path for got in receiver.got)
    assert len(counts) == 30
    assert set(counts.values()) == {1}


async def test_a_restart_tells_what_happened_meanwhile(room: Newsroom) -> None:
    async with hooks() as receiver:
        await room.begin(hook(receiver.url, Phase.FAILED))
        await room.end()
        async with room.at_work():
            assert await room.told() == {"rules[0].webhook": State.SENT}
        async with room.at_work():
            pass
    assert len(receiver.got) == 1


async def test_a_server_that_ends_lets_a_message_come_to_its_end(room: Newsroom) -> None:
    """An ordinary restart leaves nothing in doubt."""
    sending, go_on = asyncio.Event(), asyncio.Event()

    async def send(message: Message) -> Outcome:
        sending.set()
        await go_on.wait()
        return Delivered()

    await room.begin(hook("http://x.example", Phase.FAILED))
    await room.end()
    working = asyncio.create_task(room.loop(send=send).run())
    await sending.wait()
    working.cancel()
    asyncio.get_running_loop().call_soon(go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await working
    assert [d.state for d in await room.deliveries()] == [State.SENT]


async def test_a_mistake_in_a_sender_harms_nothing_else(room: Newsroom) -> None:
    async with room.at_work(send=Fails()):
        await room.begin(hook("http://x.example", Phase.FAILED))
        await room.end()
        while not any(d.state is State.SENDING for d in await room.deliveries()):
            async with room.notices.written:
                await room.notices.written.wait()
    room.ahead = LEASE + timedelta(seconds=1)
    await room.notices.abandon()
    assert [d.state for d in await room.deliveries()] == [State.UNKNOWN]


async def _die(room: Newsroom, fuse: Fuse, ends: asyncio.Task[Any]) -> None:
    """A server that lives until its fuse has blown, or until everybody was told."""
    mortal = Mortal(room.notices, fuse)

    class Sender:
        async def send(self, message: Message) -> Outcome:
            return await room.send()(message)

    living = asyncio.create_task(room.loop(mortal, Mortal(Sender(), fuse).send).run())
    await asyncio.wait({living, ends}, return_when=asyncio.FIRST_COMPLETED, timeout=20)
    if not living.done():
        assert ends.done(), "it lives and does nothing"
        living.cancel()
    (error,) = await asyncio.gather(living, return_exceptions=True)
    if fuse.blown:
        assert isinstance(error, BaseExceptionGroup | Death), error


async def test_a_crash_at_any_moment_tells_nobody_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two rules, one of whose receivers is busy at first. Die before or after each call; then another server works."""
    caplog.set_level("CRITICAL")
    monkeypatch.setattr(outbox, "_RETRY", 0.01)
    async with opened(tmp_path, Wall()) as world:
        moment, unknown, died = 0, 0, True
        while died:
            run = f"r{moment}"
            room = Newsroom(world)
            async with hooks() as receiver, hooks() as busy:
                busy.answers = [status(503), OK]
                await room.begin(hook(receiver.url, Phase.FAILED), hook(busy.url, Phase.FAILED), run=run)
                await room.end(run=run)
                fuse = Fuse(moment)
                ends = asyncio.create_task(room.told(2, run))
                await _die(room, fuse, ends)
                died = fuse.blown
                room.ahead = LEASE + timedelta(seconds=1)
                async with room.at_work():
                    told = await ends
                taken = [len(receiver.got), len(busy.got) - 1]
                for state, count in zip(told.values(), taken, strict=True):
                    assert (state is State.SENT and count == 1) or (state is State.UNKNOWN and count <= 1), (
                        f"{state.name} and taken {count} times after {moment} moments"
                    )
                unknown += sum(state is State.UNKNOWN for state in told.values())
            moment += 1
    assert moment > 15, "the test has lost its moments"
    assert unknown > 2, "the test has never died between sending and writing"


async def test_looking_for_news_writes_nothing(room: Newsroom) -> None:
    """What runs without rules cost: a few reads, no transaction that waits for the disk."""
    writes = 0
    write = room.world.database.write

    async def counting(operation: Any) -> Any:
        nonlocal writes
        writes += 1
        return await write(operation)

    await room.begin()
    await room.end()
    room.notices._database = type("Counting", (), {"read": room.world.database.read, "write": staticmethod(counting)})()
    loop = room.loop()
    assert await loop._step() > 0
    assert writes == 0
