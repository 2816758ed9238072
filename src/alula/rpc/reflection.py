"""grpc.reflection: what the services look like, for grpcurl and its kind, in v1 and v1alpha (the same messages).

Source: https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, TypeVar

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from alula.rpc.errors import Code
from alula.rpc.schema import load
from alula.rpc.service import Context, Service

T = TypeVar("T")
VERSIONS = ("v1", "v1alpha")
_SCHEMA = """
    name: "grpc/reflection/{v}/reflection.proto" package: "grpc.reflection.{v}" syntax: "proto3"
    message_type {{
      name: "ServerReflectionRequest" oneof_decl {{ name: "message_request" }}
      field {{ name: "host" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }}
      field {{ name: "file_by_filename" number: 3 type: TYPE_STRING label: LABEL_OPTIONAL oneof_index: 0 }}
      field {{ name: "file_containing_symbol" number: 4 type: TYPE_STRING label: LABEL_OPTIONAL oneof_index: 0 }}
      field {{
        name: "file_containing_extension" number: 5 type: TYPE_MESSAGE label: LABEL_OPTIONAL oneof_index: 0
        type_name: ".grpc.reflection.{v}.ExtensionRequest"
      }}
      field {{ name: "all_extension_numbers_of_type" number: 6 type: TYPE_STRING label: LABEL_OPTIONAL oneof_index: 0 }}
      field {{ name: "list_services" number: 7 type: TYPE_STRING label: LABEL_OPTIONAL oneof_index: 0 }}
    }}
    message_type {{
      name: "ExtensionRequest"
      field {{ name: "containing_type" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }}
      field {{ name: "extension_number" number: 2 type: TYPE_INT32 label: LABEL_OPTIONAL }}
    }}
    message_type {{
      name: "ServerReflectionResponse" oneof_decl {{ name: "message_response" }}
      field {{ name: "valid_host" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }}
      field {{
        name: "original_request" number: 2 type: TYPE_MESSAGE label: LABEL_OPTIONAL
        type_name: ".grpc.reflection.{v}.ServerReflectionRequest"
      }}
      field {{
        name: "file_descriptor_response" number: 4 type: TYPE_MESSAGE label: LABEL_OPTIONAL oneof_index: 0
        type_name: ".grpc.reflection.{v}.FileDescriptorResponse"
      }}
      field {{
        name: "all_extension_numbers_response" number: 5 type: TYPE_MESSAGE label: LABEL_OPTIONAL oneof_index: 0
        type_name: ".grpc.reflection.{v}.ExtensionNumberResponse"
      }}
      field {{
        name: "list_services_response" number: 6 type: TYPE_MESSAGE label: LABEL_OPTIONAL oneof_index: 0
        type_name: ".grpc.reflection.{v}.ListServiceResponse"
      }}
      field {{
        name: "error_response" number: 7 type: TYPE_MESSAGE label: LABEL_OPTIONAL oneof_index: 0
        type_name: ".grpc.reflection.{v}.ErrorResponse"
      }}
    }}
    message_type {{
      name: "FileDescriptorResponse"
      field {{ name: "file_descriptor_proto" number: 1 type: TYPE_BYTES label: LABEL_REPEATED }}
    }}
    message_type {{
      name: "ExtensionNumberResponse"
      field {{ name: "base_type_name" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }}
      field {{ name: "extension_number" number: 2 type: TYPE_INT32 label: LABEL_REPEATED }}
    }}
    message_type {{
      name: "ListServiceResponse"
      field {{
        name: "service" number: 1 type: TYPE_MESSAGE label: LABEL_REPEATED
        type_name: ".grpc.reflection.{v}.ServiceResponse"
      }}
    }}
    message_type {{
      name: "ServiceResponse"
      field {{ name: "name" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }}
    }}
    message_type {{
      name: "ErrorResponse"
      field {{ name: "error_code" number: 1 type: TYPE_INT32 label: LABEL_OPTIONAL }}
      field {{ name: "error_message" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }}
    }}
    service {{
      name: "ServerReflection"
      method {{
        name: "ServerReflectionInfo" client_streaming: true server_streaming: true
        input_type: ".grpc.reflection.{v}.ServerReflectionRequest"
        output_type: ".grpc.reflection.{v}.ServerReflectionResponse"
      }}
    }}
"""


def reflection(services: Sequence[Service]) -> tuple[Service, ...]:
    """The reflection services, one per version, that describe ``services`` and themselves."""
    files = [load(_SCHEMA.format(v=version)) for version in VERSIONS]
    own = [file.services_by_name["ServerReflection"] for file in files]
    described = [*(service.descriptor for service in services), *own]
    schema = _Schema([one.full_name for one in described], list(dict.fromkeys(one.file.pool for one in described)))
    return tuple(Service(one, _Handler(schema, one.methods[0].output_type)) for one in own)


class _Schema:
    """What can be asked. A KeyError says: not found."""

    def __init__(self, names: list[str], pools: list[DescriptorPool]) -> None:
        self.names = sorted(names)
        self._pools = pools

    def files(self, find: Callable[[DescriptorPool], FileDescriptor]) -> list[bytes]:
        """The first file that ``find`` knows, and everything it imports, each once."""
        found: dict[str, FileDescriptor] = {}
        waiting = [self._first(find)]
        while waiting:
            file = waiting.pop(0)
            if file.name not in found:
                found[file.name] = file
                waiting += file.dependencies
        return [file.serialized_pb for file in found.values()]

    def extensions(self, name: str) -> list[int]:
        """The numbers of the known extensions of a message."""

        def numbers(pool: DescriptorPool) -> list[int]:
            message = pool.FindMessageTypeByName(name)
            return sorted(extension.number for extension in pool.FindAllExtensions(message))

        return self._first(numbers)

    def extended(self, name: str, number: int) -> list[bytes]:
        """The file that declares extension ``number`` of message ``name``."""

        def declares(pool: DescriptorPool) -> FileDescriptor:
            extension: Any = pool.FindExtensionByNumber(pool.FindMessageTypeByName(name), number)
            file: FileDescriptor = extension.file
            return file

        return self.files(declares)

    def _first(self, find: Callable[[DescriptorPool], T]) -> T:
        for pool in self._pools:
            try:
                return find(pool)
            except KeyError:
                continue
        raise KeyError


class _Handler:
    def __init__(self, schema: _Schema, response: Any) -> None:
        self._schema = schema
        self._response = GetMessageClass(response)

    async def server_reflection_info(self, requests: AsyncIterator[Any], _context: Context) -> AsyncIterator[Message]:
        async for request in requests:
            response: Any = self._response(valid_host=request.host)
            response.original_request.CopyFrom(request)
            try:
                self._answer(request, response)
            except KeyError:
                response.error_response.error_code = Code.NOT_FOUND.number
                response.error_response.error_message = "not found"
            yield response

    def _answer(self, request: Any, response: Any) -> None:
        schema, asked = self._schema, request.WhichOneof("message_request")
        files = response.file_descriptor_response.file_descriptor_proto
        if asked == "list_services":
            for name in schema.names:
                response.list_services_response.service.add(name=name)
        elif asked == "file_by_filename":
            files.extend(schema.files(lambda pool: pool.FindFileByName(request.file_by_filename)))
        elif asked == "file_containing_symbol":
            files.extend(schema.files(lambda pool: pool.FindFileContainingSymbol(request.file_containing_symbol)))
        elif asked == "file_containing_extension":
            extension = request.file_containing_extension
            files.extend(schema.extended(extension.containing_type, extension.extension_number))
        elif asked == "all_extension_numbers_of_type":
            name = request.all_extension_numbers_of_type
            numbers = schema.extensions(name)
            response.all_extension_numbers_response.base_type_name = name
            response.all_extension_numbers_response.extension_number.extend(numbers)
        else:
            response.error_response.error_code = Code.INVALID_ARGUMENT.number
            response.error_response.error_message = "the request asks nothing"
