"""`SecretService`: values go in and never come out, but into the tasks that ask for them.

Case O3: types are kept, values are encrypted, and a task's variables are its own.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from connectrpc.code import Code
from flyteidl2.core import security_pb2
from flyteidl2.secret import definition_pb2 as definition
from flyteidl2.secret import payload_pb2 as pb
from flyteidl2.secret.secret_connect import SecretServiceClient
from flyteidl2.task import task_definition_pb2

from tests.api.caller import DOMAIN, FAILED, PROJECT, SUCCEEDED, Caller, python, refused
from tests.api.served import Served

VALUE = "hunter2-is-not-to-be-seen"
PLACE = {"project": PROJECT, "domain": DOMAIN}
FILE = security_pb2.Secret.FILE


@pytest.fixture
async def secrets(served: Served) -> AsyncIterator[SecretServiceClient]:
    client = served.client(SecretServiceClient)
    yield client
    while found := (await client.list_secrets(pb.ListSecretsRequest(limit=100))).secrets:
        for secret in found:
            await client.delete_secret(pb.DeleteSecretRequest(id=secret.id))


def named(name: str, **place: str) -> definition.SecretIdentifier:
    return definition.SecretIdentifier(name=name, **place)


async def keep(client: SecretServiceClient, name: str, value: str = VALUE, **place: str) -> None:
    spec = definition.SecretSpec(string_value=value)
    await client.create_secret(pb.CreateSecretRequest(id=named(name, **place), secret_spec=spec))


def asking(code: str, *secrets: security_pb2.Secret) -> task_definition_pb2.TaskSpec:
    """A task that asks for secrets."""
    task = python(code)
    task.task_template.security_context.secrets.extend(secrets)
    return task


async def test_what_is_told_of_a_secret(secrets: SecretServiceClient) -> None:
    identifier = named("pull", organization="acme")
    spec = definition.SecretSpec(binary_value=b"\xff", type=definition.SECRET_TYPE_IMAGE_PULL_SECRET)
    await secrets.create_secret(pb.CreateSecretRequest(id=identifier, secret_spec=spec))
    found = (await secrets.get_secret(pb.GetSecretRequest(id=identifier))).secret
    assert found.id == identifier
    assert found.secret_metadata.type == definition.SECRET_TYPE_IMAGE_PULL_SECRET
    assert found.secret_metadata.HasField("created_time")
    status = found.secret_metadata.secret_status
    assert status.overall_status == definition.FULLY_PRESENT
    assert [(c.cluster.name, c.presence_status) for c in status.cluster_status] == [("local", definition.PRESENT)]
    with refused(Code.ALREADY_EXISTS, "'pull'"):
        await secrets.create_secret(pb.CreateSecretRequest(id=identifier, secret_spec=spec))


async def test_pages_as_the_sdk_asks_for_them(secrets: SecretServiceClient) -> None:
    for n in range(23):
        await keep(secrets, f"s{n:02}")
    await keep(secrets, "narrow", **PLACE)
    names, token, pages = list[str](), "", 0
    while True:
        page = await secrets.list_secrets(pb.ListSecretsRequest(limit=10, token=token))
        names += [secret.id.name for secret in page.secrets]
        pages, token = pages + 1, page.token
        if not token:
            break
    assert names == ["narrow", *(f"s{n:02}" for n in range(23))]
    assert pages == 3
    narrow = await secrets.list_secrets(pb.ListSecretsRequest(domain=DOMAIN))
    assert [secret.id.project for secret in narrow.secrets] == [PROJECT]


async def test_what_is_refused(secrets: SecretServiceClient) -> None:
    spec = definition.SecretSpec(string_value=VALUE)
    with refused(Code.INVALID_ARGUMENT, "domain"):
        await keep(secrets, "x", project=PROJECT)
    with refused(Code.INVALID_ARGUMENT, "domain"):
        await secrets.list_secrets(pb.ListSecretsRequest(project=PROJECT))
    with refused(Code.INVALID_ARGUMENT, "id.name"):
        await keep(secrets, "../x")
    with refused(Code.INVALID_ARGUMENT, "secret_spec"):
        await secrets.create_secret(pb.CreateSecretRequest(id=named("x")))
    with refused(Code.INVALID_ARGUMENT, "1048576"):
        await keep(secrets, "x", "v" * (1024 * 1024 + 1))
    with refused(Code.INVALID_ARGUMENT, "token"):
        await secrets.list_secrets(pb.ListSecretsRequest(token="garbage"))
    with refused(Code.INVALID_ARGUMENT, "limit"):
        await secrets.list_secrets(pb.ListSecretsRequest(limit=-1))
    with refused(Code.INVALID_ARGUMENT, "limit"):
        await secrets.list_secrets(pb.ListSecretsRequest(limit=201))
    with refused(Code.NOT_FOUND, "flyte create secret x"):
        await secrets.update_secret(pb.UpdateSecretRequest(id=named("x"), secret_spec=spec))
    with refused(Code.NOT_FOUND):
        await secrets.get_secret(pb.GetSecretRequest(id=named("x")))
    with refused(Code.NOT_FOUND):
        await secrets.delete_secret(pb.DeleteSecretRequest(id=named("x")))


async def test_a_task_finds_them(secrets: SecretServiceClient, caller: Caller) -> None:
    await keep(secrets, "token", "broad")
    await keep(secrets, "token", "narrow", **PLACE)
    await keep(secrets, "Cert", "a file")
    code = (
        "import os, pathlib\n"
        "folder = pathlib.Path(os.environ['FLYTE_SECRETS_DEFAULT_DIR'])\n"
        "files = [(folder / 'g/Cert').read_text(), (folder / 'g/cert').read_text(), open(os.environ['WHERE']).read()]\n"
        "print(*[text[::-1] for text in (os.environ['TOKEN'], os.environ['AGAIN'], *files)])\n"  # a log shows no secret
        "print(oct(folder.stat().st_mode & 0o777), oct((folder / 'g/Cert').stat().st_mode & 0o777))\n"
    )
    task = asking(
        code,
        security_pb2.Secret(key="token", env_var="TOKEN"),
        security_pb2.Secret(key="token", env_var="AGAIN"),
        security_pb2.Secret(key="Cert", group="g", mount_requirement=FILE, env_var="WHERE"),
    )
    action = await caller.start(task)
    assert await caller.log(action) == "worran worran elif a elif a elif a\n0o700 0o600\n"
    spec = definition.SecretSpec(string_value="newer")
    await secrets.update_secret(pb.UpdateSecretRequest(id=named("token", **PLACE), secret_spec=spec))
    assert (await caller.log(await caller.start(task))).startswith("rewen rewen")


async def test_a_missing_one_ends_the_run_with_what_to_do(caller: Caller) -> None:
    ended = await caller.finished(asking("print('never')", security_pb2.Secret(key="missing", env_var="X")))
    assert ended.status.phase == FAILED
    assert ended.error_info.code == "SecretNotFound"
    assert "flyte create secret missing" in ended.error_info.message


async def test_a_value_is_seen_nowhere(secrets: SecretServiceClient, caller: Caller, served: Served) -> None:
    """Not in the database, the server's log, the executor's folder, or what is told of the run."""
    await keep(secrets, "token")
    task = asking("import os; print(len(os.environ['TOKEN']))", security_pb2.Secret(key="token", env_var="TOKEN"))
    ended = await caller.finished(task)
    assert ended.status.phase == SUCCEEDED
    assert VALUE not in str(ended)
    assert VALUE not in served.log
    contents = list(_contents(served.home))
    assert len(contents) > 10
    assert not any(VALUE.encode() in content for content in contents)
    (key,) = served.home.rglob("keys/secret")
    assert key.stat().st_mode & 0o777 == 0o600


def _contents(folder: Path) -> Iterator[bytes]:
    for path in (Path(at) / name for at, _, names in os.walk(folder) for name in names):
        with suppress(FileNotFoundError):  # what the attempt left is being removed
            if path.is_file():
                yield path.read_bytes()
