"""What a caller asks of a list: a page, conditions and an order. Values only; a list knows which fields it has."""

from dataclasses import dataclass
from enum import StrEnum


class Test(StrEnum):
    """How a field is compared (`common.Filter.Function`)."""

    EQUAL = "="
    NOT_EQUAL = "<>"
    GREATER_THAN = ">"
    GREATER_THAN_OR_EQUAL = ">="
    LESS_THAN = "<"
    LESS_THAN_OR_EQUAL = "<="
    CONTAINS = "contains"
    CONTAINS_CASE_INSENSITIVE = "icontains"
    ENDS_WITH = "endswith"
    NOT_ENDS_WITH = "notendswith"
    VALUE_IN = "in"
    VALUE_NOT_IN = "notin"
    EXISTS = "exists"
    NOT_EXISTS = "notexists"


@dataclass(frozen=True, slots=True)
class Where:
    """One condition of a caller."""

    field: str
    test: Test
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """One sort key of a caller."""

    field: str
    descending: bool


@dataclass(frozen=True, slots=True)
class Page:
    """What a caller asked for."""

    limit: int = 0
    token: str = ""
    where: tuple[Where, ...] = ()
    order: tuple[Order, ...] = ()
