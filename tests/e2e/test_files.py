"""Files, directories and data frames, made and read on both sides."""

from typing import Any

import pytest

from .user import Told, User


@pytest.fixture(scope="module")
def told(user: User) -> Told:
    return {**user.python("files.py"), **user.python("frames.py")}


@pytest.mark.parametrize(
    ("key", "outputs"),
    [
        ("read", ["the same"]),
        ("ends_early", [["line 0", "line 4999\n"]]),
        ("exists", [[True, False]]),
        ("read_dir", [{"a.txt": "a of the client", "b.txt": "b of the client"}]),
        ("pass_through", [["by a task", "by a task", "was local", "by a task", "by a task", "copy.txt"]]),
        (
            "dirs",
            [
                [
                    *("a.txt: content of a.txt", "below/b.txt: content of below/b.txt"),
                    "below/deep/c.txt: content of below/deep/c.txt",
                    *("a.txt", "b.txt", "c.txt", "content of a.txt"),
                ]
            ],
        ),
        ("make_dir", [{"x.txt": "content of x.txt", "y.txt": "content of y.txt"}]),
        ("big", [[24 * 1024 * 1024, 255, 44]]),
        ("frames", [[6, 2]]),
        ("frame", {"n": [0, 1, 2], "name": ["row 0", "row 1", "row 2"]}),
        ("columns", [["p", "q", "2"]]),
        ("listed", [[True], 1]),
    ],
)
def test_content(told: Told, key: str, outputs: Any) -> None:
    assert (told[key]["phase"], told[key].get("outputs")) == ("SUCCEEDED", outputs), told[key]["error"]


@pytest.mark.parametrize(("key", "text"), [("write", "for the client"), ("from_local", "for the client, too")])
def test_a_client_reads_what_a_task_wrote(told: Told, key: str, text: str) -> None:
    path, content = told[key]["outputs"]
    assert content == text
    assert f"/{told[key]['run']}/a0/1/" in path  # what an attempt writes lies below its own prefix
