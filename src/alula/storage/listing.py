"""Pages of rows: filters and sorts over an allow-list, and keyset tokens: pages stay right while rows change."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alula.core.errors import Invalid
from alula.core.pages import Order, Page, Test, Where
from alula.storage.database import Row

DEFAULT_LIMIT = 50
MAX_LIMIT = 200  # upstream's


@dataclass(frozen=True, slots=True)
class Column:
    """A field that callers may name: its SQL (never NULL), and how a value given as text is read.

    It holds text if ``read`` is `str`, else integers of 64 bits.
    """

    sql: str
    read: Callable[[str], str | int] = str
    present: str = ""  # the SQL for "there is one", where that is not: it is no empty text

    @property
    def text(self) -> str:
        """Its SQL as text, for patterns."""
        return self.sql if self.read is str else f"CAST({self.sql} AS TEXT)"

    def exists(self) -> str:
        return self.present or (f"{self.sql} <> ''" if self.read is str else f"{self.sql} IS NOT NULL")

    def holds(self, value: object) -> bool:
        """Whether it could have this value."""
        return _storable(value) and isinstance(value, str) is (self.read is str)


@dataclass(frozen=True, slots=True)
class Listing:
    """A kind of list. ``unique`` are the fields that tell any two rows apart: they end every order."""

    select: str
    columns: Mapping[str, Column]
    unique: tuple[str, ...]
    default: tuple[Order, ...]
    computed: Callable[[str], Column | None] = lambda _: None  # fields beyond ``columns``, made from their names

    def query(self, page: Page, scope: str, values: Mapping[str, Any]) -> tuple[str, dict[str, Any], "Keys"]:
        """The statement for one page (one row more than asked for, to know whether there is another)."""
        clauses = self.clauses(page, values)
        text = self.select.replace("/*keys*/", f", {clauses.keys}")
        conditions = [*([scope] if scope else []), *clauses.conditions]
        where_text = f" WHERE {' AND '.join(f'({c})' for c in conditions)}" if conditions else ""
        sql = f"{text}{where_text} ORDER BY {clauses.by} LIMIT {clauses.page.limit + 1}"
        return sql, clauses.values, clauses.page

    def clauses(self, page: Page, values: Mapping[str, Any]) -> "Clauses":
        """What a page asks for, clause by clause, for a statement that is put together otherwise."""
        limit = _limit(page.limit)
        order = self._order(page.order)
        bound = dict(values)
        conditions = [self._condition(where, i, bound) for i, where in enumerate(page.where)]
        if page.token:
            conditions.append(self._after(order, page.token, bound))
        keys = ", ".join(f"{self._column(o.field).sql} AS key_{i}" for i, o in enumerate(order))
        by = ", ".join(f"{self._column(o.field).sql} {'DESC' if o.descending else 'ASC'}" for o in order)
        return Clauses(tuple(conditions), keys, by, bound, Keys(limit, order))

    def _order(self, asked: Sequence[Order]) -> tuple[Order, ...]:
        order = tuple(asked) or self.default
        named = {o.field for o in order}
        return order + tuple(Order(f, descending=order[-1].descending) for f in self.unique if f not in named)

    def _column(self, name: str) -> Column:
        column = self.columns.get(name) or self.computed(name)
        if column is None:
            raise Invalid(f"{name!r} is not a field of this list; it has: {', '.join(sorted(self.columns))}")
        return column

    def _condition(self, where: Where, number: int, bound: dict[str, Any]) -> str:
        column = self._column(where.field)
        if where.test in (Test.EXISTS, Test.NOT_EXISTS):
            return column.exists() if where.test is Test.EXISTS else f"NOT ({column.exists()})"
        names = [f"w{number}_{i}" for i in range(len(where.values))]
        if not names:
            raise Invalid(f"the filter on {where.field!r} has no values")
        bound |= zip(names, _read(where, column), strict=True)
        if where.test in (Test.VALUE_IN, Test.VALUE_NOT_IN):
            negation = "NOT " if where.test is Test.VALUE_NOT_IN else ""
            return f"{column.sql} {negation}IN ({', '.join(f':{n}' for n in names)})"
        if len(names) > 1:
            raise Invalid(f"the filter on {where.field!r} takes one value; use VALUE_IN for several")
        if where.test in _PATTERNS:
            return _PATTERNS[where.test].format(column=column.text, value=f":{names[0]}")
        return f"{column.sql} {where.test.value} :{names[0]}"

    def _after(self, order: Sequence[Order], token: str, bound: dict[str, Any]) -> str:
        """Rows behind the token's in this order: (a > x) or (a = x and b > y) or ...

        That a >= x is said once more, because an index can begin there.
        """
        last = _decode(token, order, [self._column(o.field) for o in order])
        bound |= {f"k{i}": value for i, value in enumerate(last)}
        branches = []
        for i, o in enumerate(order):
            equal = [f"{self._column(p.field).sql} = :k{j}" for j, p in enumerate(order[:i])]
            beyond = f"{self._column(o.field).sql} {'<' if o.descending else '>'} :k{i}"
            branches.append(" AND ".join([*equal, beyond]))
        begin = f"{self._column(order[0].field).sql} {'<=' if order[0].descending else '>='} :k0"
        return f"{begin} AND ({' OR '.join(f'({branch})' for branch in branches)})"


# instr() has no wildcards to escape, and is exact about case, as LIKE in SQLite is not.
_PATTERNS = {
    Test.CONTAINS: "instr({column}, {value}) > 0",
    Test.CONTAINS_CASE_INSENSITIVE: "instr(lower({column}), {value}) > 0",
    Test.ENDS_WITH: "substr({column}, length({column}) - length({value}) + 1) = {value}",
    Test.NOT_ENDS_WITH: "substr({column}, length({column}) - length({value}) + 1) <> {value}",
}


@dataclass(frozen=True, slots=True)
class Clauses:
    """``keys`` is selected as ``key_0``, ``key_1``, ...; ``by`` orders by the same; ``page`` cuts what is found."""

    conditions: tuple[str, ...]
    keys: str
    by: str
    values: dict[str, Any]
    page: "Keys"


@dataclass(frozen=True, slots=True)
class Keys:
    """Cuts a page out of what the statement found."""

    limit: int
    order: tuple[Order, ...]

    def cut(self, found: Sequence[Row]) -> tuple[Sequence[Row], str]:
        """The rows of the page and the token of the next ("" at the end)."""
        if len(found) <= self.limit:
            return found, ""
        page = found[: self.limit]
        values = [_spelled(self.order), *(page[-1][f"key_{i}"] for i in range(len(self.order)))]
        return page, base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


def _limit(asked: int) -> int:
    if asked > MAX_LIMIT:
        raise Invalid(f"request.limit: {asked} is over {MAX_LIMIT}; ask for fewer and follow the token")
    return asked or DEFAULT_LIMIT


def _spelled(order: Sequence[Order]) -> str:
    return ",".join(f"{'-' if o.descending else ''}{o.field}" for o in order)


def _decode(token: str, order: Sequence[Order], columns: Sequence[Column]) -> list[Any]:
    try:
        spelled, *values = json.loads(base64.urlsafe_b64decode(token.encode()))
        if spelled == _spelled(order) and all(c.holds(v) for c, v in zip(columns, values, strict=True)):
            return list(values)
    except (ValueError, TypeError, RecursionError):
        pass
    raise Invalid("request.token: not a token of this list, or the sort order changed; start from the first page")


def _read(where: Where, column: Column) -> list[str | int]:
    read = str if where.test in _PATTERNS else column.read
    try:
        values = [read(value) for value in where.values]
    except (ValueError, OverflowError) as error:
        raise Invalid(f"the filter on {where.field!r} has a value that does not fit: {error}") from error
    for value in values:
        if not _storable(value):
            raise Invalid(f"the filter on {where.field!r} has a value that does not fit: {value!r:.40}")
    if where.test is Test.CONTAINS_CASE_INSENSITIVE:  # of ASCII alone, as `lower` of a column
        values = [str(value).encode().lower().decode() for value in values]
    return values


def _storable(value: object) -> bool:
    """What both databases can compare with: an integer of 64 bits, or text that is UTF-8 and holds no NUL."""
    if isinstance(value, str):
        return "\0" not in value and value.encode(errors="ignore").decode() == value
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
