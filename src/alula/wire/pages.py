"""List requests."""

from flyteidl2.common import list_pb2

from alula.core.errors import Invalid
from alula.core.pages import Order, Page, Test, Where

_TESTS = {
    list_pb2.Filter.EQUAL: Test.EQUAL,
    list_pb2.Filter.NOT_EQUAL: Test.NOT_EQUAL,
    list_pb2.Filter.GREATER_THAN: Test.GREATER_THAN,
    list_pb2.Filter.GREATER_THAN_OR_EQUAL: Test.GREATER_THAN_OR_EQUAL,
    list_pb2.Filter.LESS_THAN: Test.LESS_THAN,
    list_pb2.Filter.LESS_THAN_OR_EQUAL: Test.LESS_THAN_OR_EQUAL,
    list_pb2.Filter.CONTAINS: Test.CONTAINS,
    list_pb2.Filter.CONTAINS_CASE_INSENSITIVE: Test.CONTAINS_CASE_INSENSITIVE,
    list_pb2.Filter.ENDS_WITH: Test.ENDS_WITH,
    list_pb2.Filter.NOT_ENDS_WITH: Test.NOT_ENDS_WITH,
    list_pb2.Filter.VALUE_IN: Test.VALUE_IN,
    list_pb2.Filter.VALUE_NOT_IN: Test.VALUE_NOT_IN,
    list_pb2.Filter.EXISTS: Test.EXISTS,
    list_pb2.Filter.NOT_EXISTS: Test.NOT_EXISTS,
}


def page(message: list_pb2.ListRequest) -> Page:
    """A list request. ``sort_by`` is the older spelling of one ``sort_by_fields``."""
    sorts = list(message.sort_by_fields) or ([message.sort_by] if message.sort_by.key else [])
    return Page(
        limit=message.limit,
        token=message.token,
        where=tuple(where(f) for f in message.filters),
        order=tuple(order(s) for s in sorts),
    )


def where(message: list_pb2.Filter) -> Where:
    test = _TESTS.get(message.function)
    if test is None:
        raise Invalid(f"request.filters: function {message.function} of {message.field!r} is not one this server knows")
    return Where(message.field, test, tuple(message.values))


def order(message: list_pb2.Sort) -> Order:
    return Order(message.key, descending=message.direction == list_pb2.Sort.DESCENDING)
