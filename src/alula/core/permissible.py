"""What the value of a setting may be: what runs are later made with is checked when it is said."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from alula.core.errors import Invalid
from alula.core.quantity import parse
from alula.core.setting import Layer, values

_MOST_ACTIONS = 2**32 - 1  # RunSpec.max_action_concurrency
_LARGEST_ANNOTATIONS = 256 * 1024  # bytes, Kubernetes' limit
_QUEUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_SUBDOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,254}")
_URI = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s]\S*|/\S*")
_STRATEGIES = ("shared", "dataplane_specific")

Complaint = str | None
Rule = Callable[[Any], Complaint]


def check(layer: Layer) -> None:
    """Hold what a level says against the rules for each setting. Settings without a rule may be anything.

    Raises:
        Invalid: with the path of each that is wrong, and why.
    """
    said = values(layer)
    complaints = [f"settings.{path}: {complaint}" for path, complaint in _complaints(said)]
    if complaints:
        raise Invalid("; ".join(complaints))


def _complaints(said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for path, value in said.items():
        rule = _RULES.get(path)
        if rule is not None and (complaint := rule(value)) is not None:
            yield path, complaint
            continue
        least = said.get(path.replace(".max.", ".min."), value)
        if ".max." in path and _quantity(least) is None and parse(value) < parse(least):
            yield path, f"{value} is less than the minimum, {least}"


def _matches(pattern: re.Pattern[str], what: str) -> Rule:
    return lambda text: None if pattern.fullmatch(text) else f"{text[:80]!r} is not {what}"


def _quantity(text: str) -> Complaint:
    try:
        parse(text)
    except Invalid as error:
        return str(error)
    return None


def _whole(text: str) -> Complaint:
    return _quantity(text) or (None if parse(text).denominator == 1 else f"{text} is not a whole number")


def _actions(number: int) -> Complaint:
    return None if 0 <= number <= _MOST_ACTIONS else f"{number} is not between 0 (unlimited) and {_MOST_ACTIONS}"


def _strategy(text: str) -> Complaint:
    return None if text in _STRATEGIES else f"{text[:80]!r} is not one of: {', '.join(_STRATEGIES)}"


def label_name(text: str) -> Complaint:
    """What is wrong with the name of a label or annotation, by Kubernetes' rules: ``[prefix/]name``."""
    prefix, slash, name = text.rpartition("/")
    if name and _LABEL.fullmatch(name) and (not slash or _SUBDOMAIN.fullmatch(prefix)):
        return None
    return f"{text[:80]!r} is not the name of a label: use [prefix/]name, of letters, digits, '-', '_' and '.'"


def _label_value(text: str) -> Complaint:
    if _LABEL.fullmatch(text):
        return None
    return f"{text[:80]!r} is not the value of a label: use at most 63 letters, digits, '-', '_' and '.'"


def _labels(pairs: Mapping[str, str]) -> Complaint:
    return next((c for name, value in pairs.items() for c in (label_name(name), _label_value(value)) if c), None)


def _annotations(pairs: Mapping[str, str]) -> Complaint:
    if sum(len(name) + len(value.encode()) for name, value in pairs.items()) > _LARGEST_ANNOTATIONS:
        return f"annotations may have {_LARGEST_ANNOTATIONS} bytes together"
    return next((c for name in pairs if (c := label_name(name))), None)


def _variables(pairs: Mapping[str, str]) -> Complaint:
    for name, value in pairs.items():
        if not _VARIABLE.fullmatch(name):
            return f"{name[:80]!r} cannot be the name of an environment variable"
        if "\0" in value:
            return f"the value of {name} contains a NUL character"
    return None


_RULES: Mapping[str, Rule] = {
    "run.default_queue": _matches(_QUEUE, "the name of a queue: use 1 to 63 letters, digits, '-', '_' and '.'"),
    "run.max_action_concurrency": _actions,
    "run.run_base_dir": _matches(_URI, "a place for data; write it as s3://bucket/prefix"),
    "security.service_account": _matches(_SUBDOMAIN, "the name of a service account"),
    "storage.raw_data_path": _matches(_URI, "a place for data; write it as s3://bucket/prefix"),
    **{f"task_resource.{bound}.{of}": _quantity for bound in ("min", "max") for of in ("cpu", "memory", "storage")},
    **{f"task_resource.{bound}.gpu": _whole for bound in ("min", "max")},
    "labels": _labels,
    "annotations": _annotations,
    "environment_variables": _variables,
    "app.app_dns_strategy": _strategy,
    "pod_template_name": _matches(_SUBDOMAIN, "the name of a pod template"),
}
