"""The XML documents of S3, written and read. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeAlias
from xml.etree.ElementTree import Element, SubElement, TreeBuilder, tostring
from xml.parsers import expat

from alula.api.objects.errors import S3Error

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
Content: TypeAlias = "str | Sequence[tuple[str, Content]]"


def write(name: str, content: Sequence[tuple[str, Content]]) -> bytes:
    """A document: elements by name, each with a text or with elements."""
    root = Element(name, {} if name == "Error" else {"xmlns": _NAMESPACE})
    _fill(root, content)
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def read(body: bytes, name: str) -> Element:
    """The root of a document of that name, without namespaces. Refuses a document type: S3 has none, attackers do."""
    builder = TreeBuilder()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartDoctypeDeclHandler = _no_doctype
    parser.StartElementHandler = lambda tag, _: builder.start(tag.rpartition(" ")[2], {})
    parser.EndElementHandler = lambda tag: builder.end(tag.rpartition(" ")[2])
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise S3Error("MalformedXML", f"the body is not well-formed XML: {error}") from None
    root = builder.close()
    if root.tag != name:
        raise S3Error("MalformedXML", f"the body must be a {name} document")
    return root


def time(moment: datetime) -> str:
    """A time as in listings: in UTC, to the millisecond."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _fill(parent: Element, content: Sequence[tuple[str, Content]]) -> None:
    for name, inner in content:
        child = SubElement(parent, name)
        if isinstance(inner, str):
            child.text = inner
        else:
            _fill(child, inner)


def _no_doctype(*_: object) -> None:
    raise S3Error("MalformedXML", "the body must not have a document type")
