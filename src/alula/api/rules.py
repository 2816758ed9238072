"""The protocol's rules, restated for an engine that knows no names of enum values (protovalidate for Python).

`InlineRule` of `task/run.proto` has such a rule: every run that is to tell of more than one phase would fail at it.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache

from buf.validate import validate_pb2
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

_NAME = re.compile(r"((?:[a-z]\w*\.)+[A-Z]\w*)\.([A-Z][A-Z0-9_]*)\b")


def restated(message: Message) -> Message:
    """The same message, of a kind whose rules say numbers instead of names."""
    kind = message.DESCRIPTOR
    found = _pool(kind).FindMessageTypeByName(kind.full_name)
    return GetMessageClass(found).FromString(message.SerializeToString())


@cache
def _pool(kind: Descriptor) -> DescriptorPool:
    pool = DescriptorPool()
    for file in _with_imports(kind.file, set()):
        copy = FileDescriptorProto.FromString(file.serialized_pb)
        for rule in _rules(copy.message_type):
            rule.expression = _NAME.sub(lambda name: _number(kind.file.pool, name), rule.expression)
        pool.Add(copy)
    return pool


def _with_imports(file: FileDescriptor, seen: set[str]) -> Iterator[FileDescriptor]:
    if file.name not in seen:
        seen.add(file.name)
        for imported in file.dependencies:
            yield from _with_imports(imported, seen)
        yield file


def _rules(kinds: Iterable[DescriptorProto]) -> Iterator[validate_pb2.Rule]:
    for kind in kinds:
        yield from kind.options.Extensions[validate_pb2.message].cel
        for field in kind.field:
            yield from field.options.Extensions[validate_pb2.field].cel
        yield from _rules(kind.nested_type)


def _number(pool: DescriptorPool, name: re.Match[str]) -> str:
    try:
        return str(pool.FindEnumTypeByName(name[1]).values_by_name[name[2]].number)
    except KeyError:
        return name[0]
