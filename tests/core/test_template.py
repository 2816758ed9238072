"""Variables in commands."""

import pytest

from alula.core.template import render

_VALUES = {"input": "s3://b/in.pb", "outputPrefix": "s3://b/out", "runName": r"\1 $1 ${x} \g<0>", "empty": ""}


@pytest.mark.parametrize(
    ("word", "rendered"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{{.input}}", "s3://b/in.pb"),
        ("{{ .input }}", "s3://b/in.pb"),
        ("{{$input}}", "s3://b/in.pb"),
        ("{{\t$INPUT\n}}", "s3://b/in.pb"),
        ("{{.OutPutPrefix}}", "s3://b/out"),
        ("--a={{.input}},b={{.outputPrefix}}/x", "--a=s3://b/in.pb,b=s3://b/out/x"),
        ("{{.empty}}", ""),
        ("{{.unknown}}", "{{.unknown}}"),
        ("{{.inputs.x}}", "{{.inputs.x}}"),
        ("{{input}}", "{{input}}"),
        ("{.input}", "{.input}"),
        ("{{.input}", "{{.input}"),
        ("{{{.input}}}", "{s3://b/in.pb}"),
        ("{{.runName}}", r"\1 $1 ${x} \g<0>"),  # a value is literal: nothing in it is a reference
    ],
)
def test_render(word: str, rendered: str) -> None:
    assert render([word], _VALUES) == (rendered,)


def test_a_value_is_not_rendered_again() -> None:
    assert render(["{{.a}}"], {"a": "{{.b}}", "b": "never"}) == ("{{.b}}",)


def test_words_stay_words() -> None:
    assert render(["a0", "--inputs", "{{.input}}"], {"input": "two words"}) == ("a0", "--inputs", "two words")
    assert render([], _VALUES) == ()
