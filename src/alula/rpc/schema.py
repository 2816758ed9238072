"""Message types made in code, for the few protocols the layer itself speaks."""

from google.protobuf import text_format
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool


def load(text: str) -> FileDescriptor:
    """The file that ``text``, a FileDescriptorProto in text format, describes.

    It lives in a pool of its own: generated code for the same names, imported by somebody else, does not clash.
    """
    file = text_format.Parse(text, FileDescriptorProto())
    pool = DescriptorPool()
    pool.Add(file)
    return pool.FindFileByName(file.name)
