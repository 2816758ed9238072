"""Raw containers in pods: what the pod says is run here, as processes, by the program that the image has."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
from flyteidl2.core import execution_pb2, literals_pb2, types_pb2
from flyteidl2.task import common_pb2
from google.protobuf.json_format import MessageToDict, ParseDict

from alula.core.copilot import REFUSED
from alula.kube.objects import Object
from alula.manager.plugins.base import Task
from alula.manager.plugins.pod import PodPlugin
from alula.manager.podspec.copilot import DOWNLOAD, GRACE, UPLOAD
from alula.manager.podspec.settings import PodSettings

from .cases import REQUEST, load, task_template

PROGRAM = Path(sys.executable).with_name("alula")
PATIENCE = 60  # seconds
SIMPLE = {"type": {"simple": "INTEGER"}}


class Ground:
    """The folders of a pod, and an object store in a third."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.inputs, self.outputs = folder, folder / "in", folder / "out"
        for one in (self.inputs, self.outputs, folder / "prefix" / "raw"):  # a store of objects has no folders
            one.mkdir(parents=True)

    def pod(self, inputs: bytes, outputs: Mapping[str, Any], **config: str) -> Object:
        """The pod of a task with these inputs and these types of outputs."""
        (self.folder / "inputs.pb").write_bytes(inputs)
        names = [entry.name for entry in common_pb2.Inputs.FromString(inputs).literals]
        template = task_template(
            {
                "type": "raw-container",
                "interface": {
                    "inputs": {"variables": [{"key": name, "value": SIMPLE} for name in names]},
                    "outputs": {"variables": [{"key": name, "value": {"type": of}} for name, of in outputs.items()]},
                },
                "container": {
                    "image": "alpine",
                    "dataConfig": {
                        "enabled": True, "inputPath": str(self.inputs), "outputPath": str(self.outputs), **config,
                    },
                },
            }
        )  # fmt: skip
        request = replace(REQUEST, input_uri=f"{self.folder}/inputs.pb", output_uri=f"{self.folder}/prefix", raw_uri="")
        return PodPlugin().build(Task(request, template, "work", PodSettings()))

    def start(self, pod: Object, name: str) -> subprocess.Popen[str]:
        """Start one of our containers as the pod says it."""
        (container,) = [one for one in pod["spec"]["initContainers"] if one["name"] == name]
        program, *words = container["command"]
        assert program == "alula"
        env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        args = [word.replace("/tmp/alula-copilot-ready", str(self.folder / "ready")) for word in container["args"]]
        return subprocess.Popen([PROGRAM, *words, *args], env=env, stderr=subprocess.PIPE, text=True)

    def download(self, pod: Object) -> tuple[int, str]:
        return self._end(self.start(pod, DOWNLOAD))

    def upload(self, pod: Object) -> tuple[int, str]:
        """Start it, wait until it can be told, and tell it that the task has ended."""
        process = self.start(pod, UPLOAD)
        deadline = time.monotonic() + PATIENCE
        while not (self.folder / "ready").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        return self._end(process)

    def _end(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        _, said = process.communicate(timeout=PATIENCE)
        return process.returncode, said

    def error(self) -> execution_pb2.ContainerError | None:
        path = self.folder / "prefix" / "error.pb"
        return execution_pb2.ErrorDocument.FromString(path.read_bytes()).error if path.exists() else None

    def left(self) -> dict[str, Any]:
        found = common_pb2.Outputs.FromString((self.folder / "prefix" / "outputs.pb").read_bytes())
        return {entry.name: MessageToDict(entry.value) for entry in found.literals}


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def inputs(**literals: dict[str, Any]) -> bytes:
    named = [
        common_pb2.NamedLiteral(name=name, value=ParseDict(value, literals_pb2.Literal()))
        for name, value in literals.items()
    ]
    return common_pb2.Inputs(literals=named).SerializeToString()


def primitive(**value: Any) -> dict[str, Any]:
    return {"scalar": {"primitive": value}}


def blob(uri: Path, dimensionality: str = "SINGLE") -> dict[str, Any]:
    return {"scalar": {"blob": {"uri": str(uri), "metadata": {"type": {"dimensionality": dimensionality}}}}}


def test_every_kind_of_input_is_laid_out(ground: Ground) -> None:
    (ground.folder / "a.txt").write_text("a file")
    (ground.folder / "tree" / "deep").mkdir(parents=True)
    (ground.folder / "tree" / "deep" / "b.txt").write_text("in a folder")
    offloaded = ParseDict(primitive(stringValue="from elsewhere"), literals_pb2.Literal())
    (ground.folder / "offloaded.pb").write_bytes(offloaded.SerializeToString())
    packed = msgpack.packb({"x": 1})
    body = inputs(
        whole=primitive(integer="-3"),
        part=primitive(floatValue=1.5),
        truth=primitive(boolean=True),
        text=primitive(stringValue="two\nlines"),
        at=primitive(datetime="2026-11-22T10:00:00.5Z"),
        long=primitive(duration="3602.5s"),
        nothing={"scalar": {"noneType": {}}},
        one=blob(ground.folder / "a.txt"),
        many=blob(ground.folder / "tree", "MULTIPART"),
        table={"scalar": {"structuredDataset": {"uri": str(ground.folder / "tree")}}},
        shape={"scalar": {"schema": {"uri": str(ground.folder / "tree")}}},
        record={"scalar": {"generic": {"x": 1}}},
        packed={"scalar": {"binary": {"value": "", "tag": "msgpack"}}},
        either={"scalar": {"union": {"value": primitive(integer="4"), "type": {"simple": "INTEGER"}}}},
        items={"collection": {"literals": [primitive(integer="1"), primitive(integer="2")]}},
        pairs={"map": {"literals": {"k": primitive(stringValue="v")}}},
        elsewhere={"offloadedMetadata": {"uri": str(ground.folder / "offloaded.pb")}},
    )
    message = common_pb2.Inputs.FromString(body)
    next(one for one in message.literals if one.name == "packed").value.scalar.binary.value = packed
    body = message.SerializeToString()
    assert ground.download(ground.pod(body, {}, format="YAML")) == (0, "")
    expected = {
        "whole": "-3", "part": "1.5", "truth": "true", "text": "two\nlines", "at": "2026-11-22T10:00:00.5Z",
        "long": "1h0m2.5s", "nothing": "null", "one": "a file", "many/deep/b.txt": "in a folder",
        "table/deep/b.txt": "in a folder", "shape/deep/b.txt": "in a folder", "either": "4", "items/0": "1",
        "items/1": "2", "pairs/k": "v", "elsewhere": "from elsewhere",
    }  # fmt: skip
    assert {name: (ground.inputs / name).read_text() for name in expected} == expected
    assert json.loads((ground.inputs / "record").read_text()) == {"x": 1}
    assert (ground.inputs / "packed").read_bytes() == packed
    assert (ground.inputs / "inputs.pb").read_bytes() == body
    described = json.loads((ground.inputs / "inputs.yaml").read_text())
    assert (described["whole"], described["one"], described["items"]) == (-3, f"{ground.inputs}/one", [1, 2])


def test_files_keep_their_names_where_they_are_to(ground: Ground) -> None:
    (ground.folder / "a.txt").write_text("a file")
    pod = ground.pod(inputs(one=blob(ground.folder / "a.txt")), {}, fileInputLayout="NAMED_DIR")
    assert ground.download(pod) == (0, "")
    assert (ground.inputs / "one" / "a.txt").read_text() == "a file"


def test_an_input_that_no_file_can_be_is_the_tasks_failure(ground: Ground) -> None:
    """The exit code keeps the container from starting; the last words and the error document say why."""
    code, said = ground.download(ground.pod(inputs(**{"a/b": primitive(integer="1")}), {}))
    assert (code, said) == (REFUSED, "InvalidInput: 'a/b' cannot be the name of a file\n")
    error = ground.error()
    assert error is not None
    assert (error.code, error.kind) == ("InvalidInput", execution_pb2.ContainerError.NON_RECOVERABLE)
    assert error.origin == execution_pb2.ExecutionError.USER


def test_an_object_that_is_not_there_is_not_the_tasks_failure(ground: Ground) -> None:
    code, said = ground.download(ground.pod(inputs(one=blob(ground.folder / "none.txt")), {}))
    assert code not in (0, REFUSED)
    assert "none.txt" in said.splitlines()[-1]
    assert ground.error() is None


def of(**simple: str) -> dict[str, Any]:
    return {name: {"simple": kind} for name, kind in simple.items()}


def test_every_kind_of_output_is_collected(ground: Ground) -> None:
    types = {
        **of(whole="INTEGER", part="FLOAT", truth="BOOLEAN", text="STRING", at="DATETIME", long="DURATION"),
        **of(nothing="NONE", record="STRUCT"),
        "packed": {"simple": "STRUCT", "metadata": {"title": "a dataclass"}},
        "one": {"blob": {}},
        "many": {"blob": {"dimensionality": "MULTIPART"}},
        "table": {"structuredDatasetType": {}},
        "choice": {"enumType": {"values": ["a", "b"]}},
        "items": {"collectionType": {"simple": "INTEGER"}},
        "pairs": {"mapValueType": {"simple": "STRING"}},
        "either": {"unionType": {"variants": [{"simple": "INTEGER"}, {"simple": "STRING"}]}},
    }
    left = {
        "whole": "-3\n", "part": "1.5", "truth": "true", "text": "two\nlines", "at": "2026-11-22T10:00:00Z",
        "long": "1h", "nothing": "", "record": '{"x": 1}', "packed": '{"x": 1}', "one.csv": "a,b", "many/a": "1",
        "table/part": "1", "choice": "a\n", "items": "[1, 2]", "pairs": '{"k": "v"}', "either": "words",
    }  # fmt: skip
    pod = ground.pod(b"", types)
    for name, text in left.items():
        (ground.outputs / name).parent.mkdir(exist_ok=True)
        (ground.outputs / name).write_text(text)
    assert ground.upload(pod) == (0, "")
    found = ground.left()
    assert found["whole"] == primitive(integer="-3")
    assert found["text"] == primitive(stringValue="two\nlines")
    assert found["at"] == primitive(datetime="2026-11-22T10:00:00Z")
    assert found["long"] == primitive(duration="3600s")
    assert found["record"] == {"scalar": {"generic": {"x": 1.0}}}
    assert found["packed"]["scalar"]["binary"]["tag"] == "msgpack"
    assert found["items"] == {"collection": {"literals": [primitive(integer="1"), primitive(integer="2")]}}
    assert found["pairs"] == {"map": {"literals": {"k": primitive(stringValue="v")}}}
    assert found["either"]["scalar"]["union"]["type"] == {"simple": "STRING"}
    uri = found["one"]["scalar"]["blob"]["uri"]
    assert uri == f"{ground.folder}/prefix/raw/one.csv"
    assert Path(uri).read_text() == "a,b"
    assert (ground.folder / "prefix" / "raw" / "many" / "a").read_text() == "1"
    assert set(found) == set(types)
    assert ground.error() is None


@pytest.mark.parametrize(
    ("left", "words", "document"),
    [
        ({"_ERROR": "the reason"}, "User Error: the reason", "User Error"),
        ({"other": "1"}, "InvalidOutput: the container did not write its output 'x'; it wrote: other", ""),
        ({"x": "many"}, "InvalidOutput: the output x: 'many' is no integer", ""),
    ],
)
def test_a_broken_contract(ground: Ground, left: dict[str, str], words: str, document: str) -> None:
    """What the container itself told of is its error document; else its own end comes first."""
    pod = ground.pod(b"", of(x="INTEGER"))
    for name, text in left.items():
        (ground.outputs / name).write_text(text)
    assert ground.upload(pod) == (REFUSED, f"{words}\n")
    error = ground.error()
    assert (error.code if error else "") == document
    assert not (ground.folder / "prefix" / "outputs.pb").exists()


def test_outputs_that_cannot_be_written(ground: Ground) -> None:
    pod = ground.pod(b"", of(x="INTEGER"))
    (ground.outputs / "x").write_text("1")
    shutil.rmtree(ground.folder / "prefix")
    (ground.folder / "prefix").write_text("no folder")
    code, said = ground.upload(pod)
    assert code not in (0, REFUSED)
    assert said


def test_a_pod_ends_with_the_attempts_grace_however_long_an_upload_may_take() -> None:
    made = PodPlugin().build(load(Path(__file__).with_name("golden") / "pod_raw.yaml").task)
    assert made["spec"]["terminationGracePeriodSeconds"] == 600
    assert made["metadata"]["annotations"][GRACE] == "5"


def test_our_own_containers_get_what_reaches_the_store_and_nothing_else_of_the_task() -> None:
    case = load(Path(__file__).with_name("golden") / "pod_raw.yaml")
    request = replace(
        REQUEST,
        env={"PYTHONPATH": "/evil", "AWS_REGION": "eu"},
        secret="s",
        secret_env=["TOKEN"],
        secret_files={"f": "f"},
        secret_refs={"AWS_SECRET_ACCESS_KEY": "keys", "OTHER": "keys"},
    )
    made = PodPlugin().build(Task(request, case.task.template, "work", PodSettings()))
    for container in made["spec"]["initContainers"]:
        assert [one["name"] for one in container["env"]] == ["AWS_REGION", "AWS_SECRET_ACCESS_KEY"]
        assert "value" not in container["env"][1]
        assert [one["name"] for one in container["volumeMounts"]] != ["flyte-secrets"]


def test_the_literal_types_are_all_there() -> None:
    """A new type in the protocol is to be looked at here."""
    kinds = {field.name for field in literals_pb2.Scalar.DESCRIPTOR.oneofs_by_name["value"].fields}
    assert kinds == {
        "primitive", "blob", "binary", "schema", "none_type", "error", "generic", "structured_dataset", "union",
    }  # fmt: skip
    types = {field.name for field in types_pb2.LiteralType.DESCRIPTOR.oneofs_by_name["type"].fields}
    assert types == {
        "simple", "schema", "collection_type", "map_value_type", "blob", "enum_type", "structured_dataset_type",
        "union_type",
    }  # fmt: skip
