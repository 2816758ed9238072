"""Messages: what comes of a rule's templates, whatever they are filled in with."""

import json
from typing import Any

import pytest

from alula.core.errors import Invalid
from alula.core.ids import ActionId, RunId
from alula.core.message import Content, Hook, Mail, asking, ended_data, letter, paused_data, request
from alula.core.phase import Phase

RUN = RunId("p", "development", "r1")
HOSTILE = 'a "quote", a \\, a\nline <b>&</b> {{.Run.Name}} \x00 é'


def hook(**changes: Any) -> Hook:
    return Hook(**{"url": "https://h.example/x", "method": "POST", "headers": {}, "body": "", **changes})


def data(error: str = HOSTILE) -> Any:
    return ended_data(RUN, "", Phase.FAILED, error)


def test_a_body_of_json_stays_json() -> None:
    body = json.dumps({"text": "{{.Run.Name}}: {{.Error}}", "blocks": [{"n": 1, "t": "{{.Phase}}"}], "none": None})
    made = request(hook(body=body), data(), "key")
    assert json.loads(made.body) == {
        "text": f"r1: {HOSTILE}",
        "blocks": [{"n": 1, "t": "FAILED"}],
        "none": None,
    }
    assert dict(made.headers) == {"Content-Type": "application/json", "Idempotency-Key": "key"}


def test_a_body_of_text_is_text() -> None:
    made = request(hook(body='{{.Phase}} {"x": {{printf "%q" .Phase}}}'), data(), "key")
    assert made.body == b'FAILED {"x": "FAILED"}'
    assert dict(made.headers)["Content-Type"] == "text/plain; charset=utf-8"


def test_what_is_filled_in_begins_no_header() -> None:
    made = request(hook(headers={"X-Why": "{{.Error}}"}, body="x"), data("a\r\nEvil: yes"), "key")
    assert dict(made.headers)["X-Why"] == "a Evil: yes"


def test_what_is_filled_in_stays_in_the_url_where_it_is() -> None:
    made = request(hook(url="https://h.example/{{.Run.Name}}?e={{urlquery .Error}}"), data("a&b c"), "key")
    assert (made.to.host, made.to.target) == ("h.example", "/r1?e=a%26b+c")


def test_a_rules_own_content_type_and_method_count() -> None:
    made = request(hook(method="PUT", headers={"content-type": "text/x"}, body="{}"), data(), "key")
    assert (made.method, dict(made.headers)) == ("PUT", {"content-type": "text/x", "Idempotency-Key": "key"})
    assert request(hook(method="HEAD", body="x"), data(), "key").body == b""


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "CONNECT"},
        {"headers": {"Host": "x"}},
        {"headers": {"Content-Length": "1"}},
        {"headers": {"Transfer-Encoding": "chunked"}},
        {"headers": {"a b": "x"}},
        {"headers": {"": "x"}},
        {"headers": {"X\r\nY": "x"}},
        {"url": "file:///etc/passwd"},
        {"url": "{{.Error}}"},
        {"url": "{{.Nothing}}"},
        {"body": "{{.Nothing}}"},
        {"body": '{"a": ' * 700 + "1" + "}" * 700},
        {"body": "[" * 100_000},
    ],
)
def test_what_cannot_be_sent_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        request(hook(**changes), data(), "key")


def test_nothing_secret_is_in_a_repr() -> None:
    secret = hook(url="https://h.example/secret", headers={"X-Api-Key": "secret"}, body="secret")
    made = request(secret, data(), "key")
    assert "secret" not in repr(secret) + repr(made) + made.shown


def mail(**changes: Any) -> Mail:
    return Mail(**{"to": (("Ann", "ann@x.example"),), "cc": (), "bcc": (), "content": None, **changes})


def test_a_letter_escapes_in_html_only() -> None:
    made = letter(
        mail(),
        Content("{{.Phase}}\n{{.Error}}", "{{.Error}}", "<p>{{.Error}} {{html .Error}}</p>"),
        data("<b>\nx"),
        "a",
        "k",
    )
    assert made.subject == "FAILED <b> x"
    assert made.text == "<b>\nx"
    assert made.html == "<p>&lt;b&gt;\nx &lt;b&gt;\nx</p>"


def test_the_sdks_word_for_no_html_is_no_html() -> None:
    assert letter(mail(), Content("s", "text", "No HTML body"), data(), "a", "k").html == ""
    assert letter(mail(), Content("s", "", "No HTML body"), data(), "a", "k").html == "No HTML body"


def test_a_named_template_sees_the_values_that_came_with_it() -> None:
    named = mail(template="t", values={"who": "run {{.Run.Name}}"})
    made = letter(named, Content("{{.Data.who}}", "{{.Phase}}", ""), data(), "a", "k")
    assert (made.subject, made.text) == ("run r1", "FAILED")


def test_every_recipient_counts_once() -> None:
    twice = mail(to=(("", "a@x"), ("", "b@x")), cc=(("", "a@x"),), bcc=(("", "c@x"),))
    assert twice.recipients == ("a@x", "b@x", "c@x")


def test_a_condition_that_waits() -> None:
    seen = paused_data(ActionId(RUN, "c1"), "o", {"Prompt": "Go on?", "Description": "d", "PromptType": "text"})
    made = request(
        hook(body="{{.Action.Run.Name}}/{{.Action.Name}} {{.Prompt}} {{.Description}} {{.PromptType}}"), seen, "k"
    )
    assert made.body == b"r1/c1 Go on? d text"


def test_a_conditions_webhook_has_the_link_wherever_it_is_asked_for() -> None:
    payload = {"a": "see {callback_uri}", "b": [{"c": "{callback_uri}"}, 1, None], "{callback_uri}": "key"}
    made = asking("https://h.example/", payload, "https://here/v2/callbacks/t", "k")
    link = "https://here/v2/callbacks/t"
    assert json.loads(made.body) == {"a": f"see {link}", "b": [{"c": link}, 1, None], "{callback_uri}": "key"}
    assert json.loads(asking("https://h.example/", {}, link, "k").body) == {"callback_uri": link}
