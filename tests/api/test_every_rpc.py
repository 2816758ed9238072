"""Every rpc of the installed protocol, and every other that the server lists, asked with an empty request in every way.

Case C19: what is missing is named by its field, and the connection lives on. Case C40, case O21: all is implemented.
"""

import gzip
import importlib
import json
import pkgutil
import re
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import flyteidl2
import grpc
import httpx
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.api.served import Served

# What an empty request is enough for.
ANSWERED = {
    "flyteidl2.auth.AuthMetadataService.GetPublicClientConfig",
    "flyteidl2.auth.IdentityService.UserInfo",
    "flyteidl2.org.DomainService.ListDomains",
    "flyteidl2.project.ProjectService.ListProjects",
    "flyteidl2.secret.SecretService.ListSecrets",
    "flyteidl2.workflow.InternalRunService.RecordActionStream",  # the outcome is in the response
    "flyteidl2.workflow.InternalRunService.UpdateActionStatusStream",
    "flyteidl2.workflow.TranslatorService.LiteralsToLaunchFormJson",  # a form of no fields
    "grpc.health.v1.Health.Check",
    "grpc.health.v1.Health.List",
    "grpc.reflection.v1.ServerReflection.ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection.ServerReflectionInfo",
}
ENDLESS = {"grpc.health.v1.Health.Watch"}  # answers an empty request, and goes on; see test_health
DECLINED = {"flyteidl2.auth.AuthMetadataService.GetOAuth2Metadata"}  # there is no logging in: failed_precondition
# Services that are not served, each with its reason; whatever else the installed package has, the server answers.
NOT_SERVED: dict[str, dict[str, str]] = tomllib.loads(
    Path(__file__).parents[2].joinpath("tools", "declined.toml").read_text()
)
FIELD = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*: .+")


class Answer(NamedTuple):
    """``code`` is "ok" or an error's name in Connect's spelling."""

    code: str
    message: str = ""


Ask = Callable[[MethodDescriptor], Answer]


def by_grpc(served: Served) -> Iterator[Ask]:
    with grpc.insecure_channel(served.address) as channel:

        def ask(method: MethodDescriptor) -> Answer:
            kinds = {
                (False, False): channel.unary_unary,
                (False, True): channel.unary_stream,
                (True, True): channel.stream_stream,
            }
            request, response = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
            path = f"/{method.containing_service.full_name}/{method.name}"
            make = kinds[method.client_streaming, method.server_streaming]
            call = make(path, request.SerializeToString, response.FromString)
            try:
                answer = call(iter([request()]) if method.client_streaming else request(), timeout=10)
                if method.server_streaming:
                    next(answer)
            except grpc.RpcError as error:
                return Answer(error.code().name.lower(), error.details())
            return Answer("ok")

        yield ask


def by_http(served: Served, *, h2: bool, codec: str, zipped: bool) -> Iterator[Ask]:
    """Connect by hand. All calls share one connection: it has to survive each of them."""
    ports = set()
    with httpx.Client(base_url=served.url, http1=not h2, http2=h2, timeout=10) as client:

        def ask(method: MethodDescriptor) -> Answer:
            empty = b"{}" if codec == "json" else b""
            path = f"/{method.containing_service.full_name}/{method.name}"
            streams = method.client_streaming or method.server_streaming
            body = gzip.compress(empty) if zipped else empty
            kind = f"application/{'connect+' if streams else ''}{codec}"
            headers = {"content-type": kind}
            if zipped:
                headers["connect-content-encoding" if streams else "content-encoding"] = "gzip"
            if streams:
                body = bytes([zipped]) + len(body).to_bytes(4, "big") + body
            response = client.post(path, content=body, headers=headers)
            ports.add(response.extensions["network_stream"].get_extra_info("client_addr")[1])
            assert response.http_version == ("HTTP/2" if h2 else "HTTP/1.1")
            return _streamed(response) if streams else _unary(response)

        yield ask
    assert len(ports) == 1


def _unary(response: httpx.Response) -> Answer:
    if response.status_code == 200:
        return Answer("ok")
    error = response.json()
    return Answer(error["code"], error.get("message", ""))


def _streamed(response: httpx.Response) -> Answer:
    assert response.status_code == 200
    body, messages = response.content, 0
    while body:
        flags, size = body[0], int.from_bytes(body[1:5], "big")
        content, body = body[5 : 5 + size], body[5 + size :]
        if flags & 2:
            error = json.loads(content).get("error")
            assert error or messages
            return Answer(error["code"], error.get("message", "")) if error else Answer("ok")
        messages += 1
    raise AssertionError("the stream has no end")


WAYS: dict[str, Callable[[Served], Iterator[Ask]]] = {
    "grpc": by_grpc,
    "connect-json-http1": lambda served: by_http(served, h2=False, codec="json", zipped=False),
    "connect-json-gzip-h2c": lambda served: by_http(served, h2=True, codec="json", zipped=True),
    "connect-proto-gzip-http1": lambda served: by_http(served, h2=False, codec="proto", zipped=True),
    "connect-proto-h2c": lambda served: by_http(served, h2=True, codec="proto", zipped=False),
}


@cache
def installed() -> dict[str, ServiceDescriptor]:
    """Every service of the installed package, by its name; all of its messages are known afterwards."""
    found: dict[str, ServiceDescriptor] = {}
    for module in pkgutil.walk_packages(flyteidl2.__path__, "flyteidl2."):
        if module.name.endswith("_pb2"):
            services = importlib.import_module(module.name).DESCRIPTOR.services_by_name.values()
            found.update((service.full_name, service) for service in services)
    return found


@pytest.fixture(scope="module")
def methods(served: Served) -> list[MethodDescriptor]:
    """Every rpc the server lists, with the descriptors it gives for those that this process does not know."""
    installed()
    with grpc.insecure_channel(served.address) as channel:
        told = ProtoReflectionDescriptorDatabase(channel)
        known, other = descriptor_pool.Default(), descriptor_pool.DescriptorPool(told)
        found: list[MethodDescriptor] = []
        for name in told.get_services():
            try:
                service = known.FindServiceByName(name)
            except KeyError:
                service = other.FindServiceByName(name)
            found += (rpc for rpc in service.methods if rpc.full_name not in ENDLESS)
    return found


@pytest.fixture(params=WAYS)
def ask(request: pytest.FixtureRequest, served: Served) -> Iterator[Ask]:
    yield from WAYS[request.param](served)


def test_an_empty_request_is_answered_or_told_its_missing_fields(ask: Ask, methods: list[MethodDescriptor]) -> None:
    assert len(methods) > 40
    wrong = {}
    for method in methods:
        answer = ask(method)
        expected = (
            "ok" if method.full_name in ANSWERED
            else "failed_precondition" if method.full_name in DECLINED
            else "invalid_argument"
        )  # fmt: skip
        named = answer.code != "invalid_argument" or FIELD.match(answer.message)
        if answer.code != expected or not named:
            wrong[method.full_name] = answer
        again = ask(next(m for m in methods if m.full_name == "flyteidl2.auth.IdentityService.UserInfo"))
        assert again.code == "ok", f"after {method.full_name}"
    assert not wrong


def test_every_service_is_served_or_declined(methods: list[MethodDescriptor]) -> None:
    declined = {f"flyteidl2.{name}" for name in NOT_SERVED}
    asked = {method.full_name for method in methods}
    assert all(case["reason"] for case in NOT_SERVED.values())
    for name, service in installed().items():
        rpcs = {method.full_name for method in service.methods}
        assert rpcs.isdisjoint(asked) if name in declined else rpcs <= asked, name
    assert declined <= set(installed())


def test_a_name_the_server_does_not_know_is_unimplemented(served: Served) -> None:
    for path in ("/flyteidl2.workflow.RunService/Nothing", "/flyteidl2.app.NoSuchService/List"):
        response = httpx.post(served.url + path, json={})
        assert response.status_code in (404, 501), path
        with grpc.insecure_channel(served.address) as channel, pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(path)(b"")
        assert _code(caught.value) is grpc.StatusCode.UNIMPLEMENTED


def _code(error: Any) -> grpc.StatusCode:
    return error.code()


def test_health(served: Served) -> None:
    with grpc.insecure_channel(served.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        serving = health_pb2.HealthCheckResponse.SERVING
        assert health.Check(health_pb2.HealthCheckRequest()).status == serving
        service = health_pb2.HealthCheckRequest(service="flyteidl2.workflow.RunService")
        assert health.Check(service).status == serving
        assert next(health.Watch(service)).status == serving
        states = health.List(health_pb2.HealthListRequest()).statuses
        assert {"", "flyteidl2.workflow.RunService"} <= set(states)
        assert {state.status for state in states.values()} == {serving}
        with pytest.raises(grpc.RpcError) as caught:
            health.Check(health_pb2.HealthCheckRequest(service="no.Such"))
        assert _code(caught.value) is grpc.StatusCode.NOT_FOUND


def test_reflection_lists_health(served: Served) -> None:
    with grpc.insecure_channel(served.address) as channel:
        assert "grpc.health.v1.Health" in ProtoReflectionDescriptorDatabase(channel).get_services()
