"""Messages to bytes and back: the two codecs of the protocols."""

from collections.abc import Callable
from dataclasses import dataclass

from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message


class Garbage(Exception):
    """The bytes of a request are no message. The text may be shown to the client."""


@dataclass(frozen=True, slots=True)
class Codec:
    """``decode`` raises Garbage; ``encode`` raises only for a message that cannot be sent."""

    name: str
    decode: Callable[[type[Message], bytes], Message]
    encode: Callable[[Message], bytes]


def _decode_proto(kind: type[Message], data: bytes) -> Message:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise Garbage(f"the body is no {kind.DESCRIPTOR.full_name}") from error


def _decode_json(kind: type[Message], data: bytes) -> Message:
    try:
        return json_format.Parse(data.decode(), kind(), ignore_unknown_fields=True)
    except (json_format.ParseError, ValueError, TypeError, RecursionError) as error:
        raise Garbage(f"the body is no {kind.DESCRIPTOR.full_name} in JSON: {error}") from error


def _encode_proto(message: Message) -> bytes:
    return message.SerializeToString()


def _encode_json(message: Message) -> bytes:
    return json_format.MessageToJson(message, indent=None, ensure_ascii=False).encode()


PROTO = Codec("proto", _decode_proto, _encode_proto)
JSON = Codec("json", _decode_json, _encode_json)
CODECS = {codec.name: codec for codec in (PROTO, JSON)}
