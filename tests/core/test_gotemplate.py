"""Templates: what Go's text/template would make of them, and what nobody may make of them here."""

import time
from typing import Any

import pytest

from alula.core.errors import Invalid
from alula.core.gotemplate import LONGEST, Renderer

DATA: dict[str, Any] = {
    "Run": {"Org": "", "Project": "p", "Domain": "development", "Name": "r1"},
    "Phase": "FAILED",
    "Error": 'it said "no" & <left>\n',
    "Empty": "",
}


def render(source: str, data: dict[str, Any] | None = None) -> str:
    return Renderer(DATA if data is None else data).render(source)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", ""),
        ("plain {task.name} {", "plain {task.name} {"),
        ("Run {{.Run.Name}} {{.Phase}}", "Run r1 FAILED"),
        ("{{ .Run.Project }}/{{\n.Run.Domain\n}}", "p/development"),
        ("{{$.Run.Name}}", "r1"),
        ("a  {{- .Phase -}}  b", "aFAILEDb"),
        ("a {{- /* why */ -}} b", "ab"),
        ("a{{/* {{ }} */}}b", "ab"),
        ("{{if .Error}}bad{{else}}good{{end}}", "bad"),
        ("{{if .Empty}}bad{{else}}good{{end}}", "good"),
        ("{{if .Empty}}1{{else if .Phase}}2{{else}}3{{end}}", "2"),
        ("{{if .Empty}}1{{else if .Empty}}2{{else}}3{{end}}!", "3!"),
        ('{{if eq .Phase "FAILED" "ABORTED"}}x{{end}}', "x"),
        ('{{if and (ne .Phase "SUCCEEDED") (not .Empty)}}x{{end}}', "x"),
        ("{{with .Run}}{{.Name}} in {{.Project}} {{$.Phase}}{{end}}", "r1 in p FAILED"),
        ("{{with .Empty}}x{{else}}{{.Phase}}{{end}}", "FAILED"),
        ('{{.Run.Name | printf "%s-%s" "x"}}', "x-r1"),
        ('{{printf "%q" .Phase}} {{printf "%5d|%-5s|%05d" 42 "ab" 7}}', '"FAILED"    42|ab   |00007'),
        ('{{printf "%.3s %v %t %% %.1f" .Phase 1.5 true 2.25}}', "FAI 1.5 true % 2.2"),
        ("{{slice .Error 0 2}}{{slice .Phase 4}}", "itED"),
        ("{{len .Phase}}{{print 1 2}}{{println .Phase}}", "612FAILED\n"),
        ("{{html .Error}}", "it said &quot;no&quot; &amp; &lt;left&gt;\n"),
        ("{{.Error | js}}", 'it said \\"no\\" \\u0026 \\u003cleft\\u003e\\n'),
        ("{{urlquery .Error}}", "it+said+%22no%22+%26+%3Cleft%3E%0A"),
        ('{{or .Empty "none"}}{{and .Phase "yes"}}', "noneyes"),
        ("{{`raw }} \\n`}}", "raw }} \\n"),
        ('{{"}} \\"quoted\\""}}', '}} "quoted"'),
        ("{{lt 1 2}} {{ge 2 2}} {{gt 1 2}} {{le 3 2}}", "true true false false"),
        ("}} {{.Phase}} }}", "}} FAILED }}"),
    ],
)
def test_it_renders(source: str, expected: str) -> None:
    assert render(source) == expected


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("{{.Run.Nme}}", "no 'Nme' here, only .Org, .Project, .Domain, .Name"),
        ("{{.run.name}}", "no 'run' here"),
        ("{{.Phase.Name}}", "nothing below that text"),
        ("{{.Run}}", "name one of .Org"),
        ("{{.Phase", "not closed"),
        ("{{if .Phase}}x", "no {{end}}"),
        ("{{end}}", "ends nothing"),
        ("{{else}}", "ends nothing"),
        ("{{range .Run}}{{end}}", "'range' is no function"),
        ('{{template "x"}}', "'template' is no function"),
        ("{{$x := .Phase}}", "not understood"),
        ("{{call .Phase}}", "'call' is no function"),
        ("{{.Phase .Run}}", "one value, or a function"),
        ("{{}}", "one value, or a function"),
        ("{{(.Phase}}", "not expected"),
        ('{{printf "%s"}}', "more values than it is given"),
        ('{{printf "%n" 1}}', "none of %s"),
        ('{{printf "%d" .Phase}}', "numbers only"),
        ("{{eq .Phase 1}}", "compares texts with texts"),
        ("{{slice .Phase -1}}", "whole numbers"),
        ("{{len .Run}}", "len takes a text"),
    ],
)
def test_it_says_what_is_wrong(source: str, says: str) -> None:
    with pytest.raises(Invalid, match=says.replace("{", r"\{").replace("(", r"\(")):
        render(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{.__class__}}",
        "{{.Phase.__class__.__mro__}}",
        "{{.Run.keys}}",
        "{{.Run.items}}",
        "{{.Phase.format}}",
        "{{.Phase.upper}}",
        "{{__import__}}",
        "{{printf}}",
        '{{printf "%s" printf}}',
        "{{print.__globals__}}",
        "{{index .Run 0}}",
        "{{.Run.__getitem__}}",
    ],
)
def test_nothing_of_python_can_be_reached(source: str) -> None:
    with pytest.raises(Invalid):
        render(source)


def _doubling(levels: int) -> str:
    return '{{with printf "%s%s" . .}}' * levels + "{{.}}" + "{{end}}" * levels


@pytest.mark.parametrize(
    "source",
    [
        "{{.Error}}" * 20_000,
        "{{with .Error}}" + _doubling(15) + "{{end}}",
        "{{with .Error}}" + _doubling(1000) + "{{end}}",
        '{{printf "%999s" .Phase}}' * 5000,
        '{{printf "' + "%s" * 10_000 + '"' + " .Error" * 10_000 + "}}",
        "{{" + "(" * 1000 + ".Phase" + ")" * 1000 + "}}",
        "{{if .Phase}}" * 1000 + "{{end}}" * 1000,
        "{{if .Empty}}" + "{{else if .Empty}}" * 1000 + "{{end}}",
        "{{html (html (html (html .Error)))}}" * 6000,
        "x" * (LONGEST + 1),
        '{{printf "%99999999999s" .Phase}}',
        "{{" + "9" * 100_000 + "}}",
    ],
    ids=range(12),
)
def test_what_costs_too_much_is_refused_soon(source: str) -> None:
    began = time.monotonic()
    with pytest.raises(Invalid):
        render(source, {**DATA, "Error": "e" * 16_000})
    assert time.monotonic() - began < 2


def test_all_templates_of_a_message_share_what_it_may_cost() -> None:
    renderer = Renderer({"Error": "e" * (LONGEST // 3)})
    renderer.render("{{.Error}}")
    renderer.render("{{.Error}}")
    with pytest.raises(Invalid, match="comes to more than"):
        renderer.render("{{.Error}}{{.Error}}")
