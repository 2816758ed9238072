"""What is where in the folder of a raw container's inputs, and what the inputs are in its command."""

from pathlib import PurePosixPath
from typing import Any

import pytest
from flyteidl2.core import literals_pb2
from flyteidl2.task import common_pb2
from google.protobuf.json_format import ParseDict

from alula.copilot.layout import Layout, Object
from alula.core.copilot import fill
from alula.core.errors import Invalid

ELSEWHERE = {"s3://b/large": {"scalar": {"primitive": {"integer": "7"}}}}


def layout(literals: dict[str, dict[str, Any]], named: bool = False) -> Layout:
    found = Layout("/in", named, lambda uri: literal(ELSEWHERE[uri]).SerializeToString())
    entries = [common_pb2.NamedLiteral(name=name, value=literal(value)) for name, value in literals.items()]
    found.add(common_pb2.Inputs(literals=entries).SerializeToString())
    return found


def literal(value: dict[str, Any]) -> literals_pb2.Literal:
    return ParseDict(value, literals_pb2.Literal())


def integer(value: int) -> dict[str, Any]:
    return {"scalar": {"primitive": {"integer": str(value)}}}


def blob(uri: str, dimensionality: str = "SINGLE") -> dict[str, Any]:
    return {"scalar": {"blob": {"uri": uri, "metadata": {"type": {"dimensionality": dimensionality}}}}}


def items(*values: dict[str, Any]) -> dict[str, Any]:
    return {"collection": {"literals": list(values)}}


ONE, OTHER, SAME = blob("s3://b/one.txt"), blob("s3://b/other.txt"), blob("s3://c/one.txt")


@pytest.mark.parametrize(
    ("named", "value", "entries", "argument"),
    [
        (False, integer(3), {"x": b"3"}, "3"),
        (False, ONE, {"x": Object("s3://b/one.txt", False)}, "/in/x"),
        (True, ONE, {"x": None, "x/one.txt": Object("s3://b/one.txt", False)}, "/in/x/one.txt"),
        (True, blob("s3://b/d", "MULTIPART"), {"x": Object("s3://b/d", True)}, "/in/x"),
        (True, blob("s3://b/.."), {"x": None, "x/x": Object("s3://b/..", False)}, "/in/x/x"),
        (False, items(integer(1), integer(2)), {"x": None, "x/0": b"1", "x/1": b"2"}, "[1,2]"),
        (
            True,
            items(ONE, OTHER, SAME),
            {
                "x": None,
                "x/one.txt": Object("s3://b/one.txt", False),
                "x/other.txt": Object("s3://b/other.txt", False),
                "x/2_one.txt": Object("s3://c/one.txt", False),
            },
            "[/in/x/one.txt,/in/x/other.txt,/in/x/2_one.txt]",
        ),
        (False, {"map": {"literals": {"k": integer(1)}}}, {"x": None, "x/k": b"1"}, '{"k": 1}'),
        (False, {"offloadedMetadata": {"uri": "s3://b/large"}}, {"x": b"7"}, "7"),
        (False, {"scalar": {"noneType": {}}}, {"x": b"null"}, "null"),
    ],
)
def test_what_is_where(named: bool, value: dict[str, Any], entries: dict[str, Any], argument: str) -> None:
    found = layout({"x": value}, named)
    assert found.entries == {PurePosixPath(path): entry for path, entry in entries.items()}
    assert list(map(str, found.entries)) == list(entries)
    assert fill("{{.inputs.x}}", found.values) == argument


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../etc", "a\0b"])
def test_no_name_leads_out_of_its_folder(name: str) -> None:
    with pytest.raises(Invalid, match="cannot be the name of a file"):
        layout({name: integer(1)})
    with pytest.raises(Invalid, match="cannot be the name of a file"):
        layout({"x": {"map": {"literals": {name: integer(1)}}}})


@pytest.mark.parametrize("value", [{}, {"scalar": {}}, {"scalar": {"error": {"message": "no"}}}])
def test_what_no_file_can_hold(value: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="the input x"):
        layout({"x": value})
