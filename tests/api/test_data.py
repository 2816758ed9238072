"""DataProxyService: uploads as the SDK makes them, inputs, links and logs."""

import asyncio
import base64
import hashlib
import time
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from connectrpc.code import Code
from flyteidl2.dataproxy import dataproxy_service_pb2 as data
from google.protobuf.duration_pb2 import Duration

from tests.api.caller import Caller, creation, python, refused

CONTENT = b"some code" * 1000
MD5 = hashlib.md5(CONTENT).digest()


def asked(**fields: Any) -> data.CreateUploadLocationRequest:
    return data.CreateUploadLocationRequest(
        **{
            "project": "flytesnacks",
            "domain": "development",
            "content_md5": MD5,
            "filename": "fast.tar.gz",
            "expires_in": Duration(seconds=900),
            "add_content_md5_metadata": True,
            "content_length": len(CONTENT),
            **fields,
        }
    )


async def put(url: str, headers: Mapping[str, str], content: bytes = CONTENT) -> httpx.Response:
    """The SDK's own request (sdk-contract.md 2.2)."""
    sent = {
        "Content-Length": str(len(content)),
        "Content-MD5": base64.b64encode(MD5).decode(),
        "Content-Type": "application/octet-stream",
        **headers,
    }
    async with httpx.AsyncClient() as client:
        return await client.put(url, content=content, headers=sent)


async def test_an_upload_and_its_link(caller: Caller) -> None:
    """Case O10: what is asked for is sent, and taken. Case O13: a link to code, and its longest time."""
    location = await caller.data.create_upload_location(asked())
    assert location.native_url.startswith("s3://alula/")
    assert location.native_url.endswith("/fast.tar.gz")
    for _ in range(2):  # again is fine
        response = await put(location.signed_url, location.headers)
        assert response.status_code == 200, response.text
    again = await caller.data.create_upload_location(asked())
    assert again.native_url == location.native_url

    spec = python("pass")
    spec.task_template.metadata.code_bundle_uri = location.native_url
    action = (await caller.runs.create_run(creation(spec))).run.action.id
    attempt = {"action_id": action, "attempt": 1}
    link = await caller.data.create_download_link(
        data.CreateDownloadLinkRequest(artifact_type=data.ARTIFACT_TYPE_CODE_BUNDLE, action_attempt_id=attempt)
    )
    async with httpx.AsyncClient() as client:
        assert (await client.get(link.pre_signed_urls.signed_url[0])).content == CONTENT
    with refused(Code.NOT_FOUND, "no report"):
        await caller.data.create_download_link(
            data.CreateDownloadLinkRequest(artifact_type=data.ARTIFACT_TYPE_REPORT, action_attempt_id=attempt)
        )
    endless = Duration(seconds=10**11)
    with refused(Code.INVALID_ARGUMENT, "expires_in"):
        await caller.data.create_download_link(
            data.CreateDownloadLinkRequest(
                artifact_type=data.ARTIFACT_TYPE_CODE_BUNDLE, action_attempt_id=attempt, expires_in=endless
            )
        )


async def test_files_of_one_folder(caller: Caller) -> None:
    one = await caller.data.create_upload_location(asked(filename="one", filename_root="root"))
    two = await caller.data.create_upload_location(asked(filename="two", filename_root="root"))
    assert one.native_url.removesuffix("one") == two.native_url.removesuffix("two")
    assert (await put(one.signed_url, one.headers)).status_code == 200
    await caller.data.create_upload_location(asked(filename="one", filename_root="root"))
    other = hashlib.md5(b"other").digest()
    with refused(Code.ALREADY_EXISTS, "another content"):
        await caller.data.create_upload_location(asked(filename="one", filename_root="root", content_md5=other))


async def test_uploads_that_are_not_what_was_signed(caller: Caller) -> None:
    location = await caller.data.create_upload_location(asked(filename="strict"))
    url, headers = location.signed_url, location.headers
    wrong = await put(url, headers, CONTENT[:-1] + b"!")
    assert (wrong.status_code, "<Code>BadDigest</Code>" in wrong.text) == (400, True)
    other = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    for tampered, sent in (
        (url, {"Content-MD5": other}),
        (url.replace("strict", "stolen"), headers),
        (url[:-1] + ("0" if url[-1] != "0" else "1"), headers),
        (url.partition("?")[0], headers),
        (url.replace("X-Amz-Expires=900", "X-Amz-Expires=3600"), headers),
    ):
        response = await put(tampered, sent)
        assert response.status_code == 403, (tampered, response.text)
    async with httpx.AsyncClient() as client:
        assert (await client.get(url)).status_code == 403  # it was signed for PUT
    assert (await put(url, headers)).status_code == 200


async def test_a_url_expires(caller: Caller) -> None:
    """Case O13."""
    location = await caller.data.create_upload_location(asked(filename="brief", expires_in=Duration(seconds=1)))
    left = location.expires_at.ToNanoseconds() - time.time_ns()
    assert left < 1e9
    await asyncio.sleep(left / 1e9 + 1)  # whole seconds are signed
    response = await put(location.signed_url, location.headers)
    assert response.status_code == 403
    assert "expired" in response.text


@pytest.mark.parametrize(
    ("fields", "code", "word"),
    [
        ({"filename": "../../etc/passwd"}, Code.INVALID_ARGUMENT, "'..'"),
        ({"filename_root": "../.."}, Code.INVALID_ARGUMENT, "'..'"),
        ({"filename": "a\0b"}, Code.INVALID_ARGUMENT, "control characters"),
        ({"filename": "x" * 300}, Code.INVALID_ARGUMENT, "too long"),
        ({"content_md5": b"short"}, Code.INVALID_ARGUMENT, "content_md5"),
        ({"expires_in": Duration(seconds=3601)}, Code.INVALID_ARGUMENT, "expires_in"),
        ({"expires_in": Duration(seconds=-1)}, Code.INVALID_ARGUMENT, "expires_in"),
        ({"expires_in": Duration(seconds=10**11)}, Code.INVALID_ARGUMENT, "expires_in"),
        ({"domain": "nowhere"}, Code.NOT_FOUND, "nowhere"),
    ],
)
async def test_what_can_be_no_upload(caller: Caller, fields: dict[str, Any], code: Code, word: str) -> None:
    """Case O2, of names; case O7, of digests."""
    with refused(code, word):
        await caller.data.create_upload_location(asked(**fields))


def inputs(**values: int) -> dict[str, Any]:
    return {
        "literals": [{"name": n, "value": {"scalar": {"primitive": {"integer": v}}}} for n, v in values.items()],
    }


async def test_inputs_have_a_stable_hash(caller: Caller) -> None:
    """Case O8."""
    spec = python("pass")
    spec.task_template.metadata.cache_ignore_input_vars.append("ignored")

    async def hashed(given: dict[str, Any]) -> data.UploadInputsResponse:
        place = {"name": "flytesnacks", "domain": "development"}
        return await caller.data.upload_inputs(data.UploadInputsRequest(project_id=place, task_spec=spec, inputs=given))

    first = (await hashed(inputs(x=1, y=2, ignored=3))).offloaded_input_data
    for same in (inputs(x=1, y=2, ignored=3), inputs(y=2, x=1, ignored=4)):
        assert (await hashed(same)).offloaded_input_data.inputs_hash == first.inputs_hash
    assert (await hashed(inputs(x=1, y=3))).offloaded_input_data.inputs_hash != first.inputs_hash
    request = creation(spec, offloaded_input_data=first)
    action = (await caller.runs.create_run(request)).run.action.id
    found = await caller.data.get_action_data(data.GetActionDataRequest(action_id=action))
    assert [literal.name for literal in found.inputs.literals] == ["x", "y", "ignored"]
    assert found.inputs_uri == f"{first.uri}/inputs.pb"
    with refused(Code.INVALID_ARGUMENT, "s3://elsewhere"):
        await caller.data.upload_inputs(
            data.UploadInputsRequest(
                project_id={"name": "flytesnacks", "domain": "development"}, task_spec=spec, base_dir="s3://elsewhere/x"
            )
        )


async def test_what_is_there_and_is_something_else(caller: Caller) -> None:
    location = await caller.data.create_upload_location(asked(filename="no-inputs.pb"))
    await put(location.signed_url, location.headers)
    offloaded = {"uri": location.native_url, "inputs_hash": "x"}
    action = (await caller.runs.create_run(creation(python("pass"), offloaded_input_data=offloaded))).run.action.id
    with refused(Code.FAILED_PRECONDITION, "inputs cannot be read"):
        await caller.data.get_action_data(data.GetActionDataRequest(action_id=action))


async def test_data_and_logs_of_what_is_not_there(caller: Caller) -> None:
    action = {"run": {"project": "p", "domain": "development", "name": "no-such"}, "name": "a0"}
    with refused(Code.NOT_FOUND, "no-such"):
        await caller.data.get_action_data(data.GetActionDataRequest(action_id=action))
    with refused(Code.NOT_FOUND, "no-such"):
        async for _ in caller.data.tail_logs(data.TailLogsRequest(action_id=action, attempt=1)):
            pass
