"""Notification rules: as runs and the server's settings bring them."""

from collections.abc import Mapping
from typing import Any

from flyteidl2.notification import definition_pb2
from flyteidl2.task import run_pb2
from flyteidl2.workflow import run_definition_pb2
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message

from alula.core.errors import Invalid
from alula.core.message import Content, Hook, Mail, Request, asking
from alula.core.notice import Book, Rule, Rules, Templates
from alula.core.phase import Phase

_METHOD = "HTTP_METHOD_"


def wants_notices(run_spec: bytes) -> bool:
    """Whether a RunSpec has rules for notifications."""
    return run_pb2.RunSpec.FromString(run_spec).WhichOneof("notification_settings") is not None


def rules(run_spec: bytes) -> Rules:
    """The rules of a run, or the name of those that the server has.

    Raises:
        Invalid: the bytes are no RunSpec.
    """
    try:
        spec = run_pb2.RunSpec.FromString(run_spec)
    except DecodeError:
        raise Invalid("the run's spec cannot be read: it is no RunSpec") from None
    if spec.WhichOneof("notification_settings") == "notification_rule_name":
        return spec.notification_rule_name
    return tuple(_rule(rule) for rule in spec.notification_rules.rules)


def book(named: Mapping[str, Any], deliveries: Mapping[str, Any], mails: Mapping[str, Any]) -> Book:
    """What the settings have under names, each in the JSON form of its message: InlineRuleList,
    DeliveryConfigTemplate, InlineEmailTemplate.

    Raises:
        Invalid: one is not of that form; the message names it.
    """
    lists = {name: _parsed(f"rules.{name}", value, run_pb2.InlineRuleList()) for name, value in named.items()}
    ways = {
        name: _parsed(f"deliveries.{name}", value, definition_pb2.DeliveryConfigTemplate())
        for name, value in deliveries.items()
    }
    texts = {
        name: _parsed(f"mails.{name}", value, definition_pb2.InlineEmailTemplate()) for name, value in mails.items()
    }
    return Book(
        rules={name: tuple(_rule(rule) for rule in value.rules) for name, value in lists.items()},
        deliveries={name: _templates(value) for name, value in ways.items()},
        mails={name: _content(value) for name, value in texts.items()},
    )


def question(spec: bytes) -> Mapping[str, str]:
    """What a condition asks, as templates see it."""
    asked = run_definition_pb2.ConditionAction.FromString(spec)
    markdown = asked.prompt_type == run_definition_pb2.CONDITION_PROMPT_TYPE_MARKDOWN
    return {
        "Prompt": asked.prompt,
        "Description": asked.description,
        "PromptType": "markdown" if markdown else "text",
    }


def has_webhook(spec: bytes) -> bool:
    """Whether a condition is to be announced by a webhook of its own."""
    return bool(run_definition_pb2.ConditionAction.FromString(spec).webhook.url)


def webhook(spec: bytes, callback: str, key: str) -> Request:
    """A condition's own webhook.

    Raises:
        Invalid: its URL is none that can be called.
    """
    hook = run_definition_pb2.ConditionAction.FromString(spec).webhook
    return asking(hook.url, json_format.MessageToDict(hook.payload), callback, key)


def _parsed(name: str, value: Any, message: Any) -> Any:
    try:
        found: Message = json_format.ParseDict(value, message)
    except (json_format.ParseError, TypeError, AttributeError) as error:
        raise Invalid(f"notifications.{name}: {error}") from None
    return found


def _rule(message: run_pb2.InlineRule) -> Rule:
    named = message.WhichOneof("delivery") == "delivery_config_name"
    return Rule(
        phases=frozenset(phase for phase in Phase if int(phase) in message.on_phases),
        templates=None if named else _templates(message.delivery_template),
        config=message.delivery_config_name,
    )


def _templates(message: definition_pb2.DeliveryConfigTemplate) -> Templates:
    hook, mail = message.webhook, message.email
    return Templates(
        hook=Hook(hook.url, _method(hook.method), dict(hook.headers), hook.body_template)
        if message.HasField("webhook")
        else None,
        mail=_mail(mail) if message.HasField("email") else None,
    )


def _method(number: int) -> str:
    if number not in definition_pb2.HttpMethod.values():
        return "POST"
    return definition_pb2.HttpMethod.Name(number).removeprefix(_METHOD).replace("UNSPECIFIED", "POST")


def _mail(message: definition_pb2.EmailDeliveryTemplate) -> Mail:
    named = message.WhichOneof("content") == "provider_template"
    return Mail(
        to=tuple((r.name, r.address) for r in message.to),
        cc=tuple((r.name, r.address) for r in message.cc),
        bcc=tuple((r.name, r.address) for r in message.bcc),
        content=None if named else _content(message.inline),
        template=message.provider_template.template_id,
        values=dict(message.provider_template.template_data),
    )


def _content(message: definition_pb2.InlineEmailTemplate) -> Content:
    return Content(message.subject, message.text_template, message.html_template)
