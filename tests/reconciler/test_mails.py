"""E-mail: to a real SMTP server, each recipient for himself."""

from typing import Any

import pytest

from alula.base.settings import Mailing, Secret
from alula.core.message import Letter
from alula.core.notice import Delivered, Doubtful, Outcome, Postponed, Refused
from alula.reconciler.mails import Mails

from .receivers import Mailbox, mailbox


def letter(**changes: Any) -> Letter:
    blank: dict[str, Any] = {
        "recipient": "ann@x.example",
        "to": (("Ann Ö", "ann@x.example"), ("", "bob@x.example")),
        "cc": (("", "eve@x.example"),),
        "subject": "Run r1 FAILED ü",
        "text": "line one\n.dot\nüber",
        "html": "",
        "id": "k1",
    }
    return Letter(**{**blank, **changes})


async def send(box: Mailbox, made: Letter | None = None) -> Outcome:
    server = Mailing("127.0.0.1", "Alula <alula@server.example>", port=box.port, security="none")
    return await Mails(server).send(made or letter())


async def test_it_arrives_as_it_was_made() -> None:
    async with mailbox() as box:
        assert await send(box) == Delivered()
    ((recipients, message),) = box.got
    assert recipients == ["ann@x.example"]
    assert message["From"] == "Alula <alula@server.example>"
    assert message["To"] == "Ann Ö <ann@x.example>, bob@x.example"
    assert message["Cc"] == "eve@x.example"
    assert message["Subject"] == "Run r1 FAILED ü"
    assert message["Message-ID"] == "<k1@server.example>"
    assert message.get_content().splitlines() == ["line one", ".dot", "über"]


async def test_text_and_html_are_two_forms_of_one_message() -> None:
    async with mailbox() as box:
        assert await send(box, letter(html="<p>rich</p>")) == Delivered()
        assert await send(box, letter(html="<p>rich</p>", text="")) == Delivered()
    (_, both), (_, rich) = box.got
    assert both.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in both.iter_parts()] == ["text/plain", "text/html"]
    assert rich.get_content_type() == "text/html"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [("450 later", Postponed), ("421 busy", Postponed), ("550 nobody", Refused), ("554 never", Refused)],
)
async def test_what_the_server_says_of_a_recipient(answer: str, outcome: type[Outcome]) -> None:
    async with mailbox() as box:
        box.refusals["ann@x.example"] = answer
        assert isinstance(await send(box), outcome)
        assert await send(box, letter(recipient="bob@x.example")) == Delivered()
    assert [recipients for recipients, _ in box.got] == [["bob@x.example"]]


async def test_a_server_that_hangs_up_over_a_message_may_have_taken_it() -> None:
    async with mailbox() as box:
        box.silent = True
        assert isinstance(await send(box), Doubtful)


async def test_a_server_that_is_away_is_tried_again() -> None:
    async with mailbox() as box:
        pass
    assert isinstance(await send(box), Postponed)


async def test_settings_that_the_server_does_not_take_may_be_mended() -> None:
    async with mailbox() as box:
        for server in (
            Mailing("127.0.0.1", "a@x.example", port=box.port, security="starttls"),
            Mailing("127.0.0.1", "a@x.example", port=box.port, security="none", user="u", password=Secret("p")),
        ):
            assert isinstance(await Mails(server).send(letter()), Postponed)


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": "a\r\nBcc: all@x.example"},
        {"recipient": "a@x.example>\r\nDATA"},
        {"to": (("", "no address"),)},
        {"to": (("a\r\nX: y", "a@x.example"),)},
        {"to": (("", "a@x.example\r\nX: y"),)},
    ],
)
async def test_what_would_be_more_than_one_letter_is_refused(changes: dict[str, Any]) -> None:
    async with mailbox() as box:
        outcome = await send(box, letter(**changes))
    assert isinstance(outcome, Refused), outcome
    assert box.got == []


async def test_a_server_without_mail_says_so() -> None:
    outcome = await Mails(None).send(letter())
    assert isinstance(outcome, Refused)
    assert "notifications.mail" in outcome.reason


def test_the_password_is_in_no_repr() -> None:
    assert "hush" not in repr(Mailing("h", "a@x", user="u", password=Secret("hush")))
