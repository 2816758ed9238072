"""Which images there are: the default one of the SDK that this server has, and what was built here."""

from pathlib import Path

import pytest
from flyte import Image
from flyteidl2.task import task_definition_pb2

from alula.blobs.store import Blobs
from alula.control.images import Images
from alula.core.errors import NotFound
from alula.core.ids import TaskId
from alula.core.pages import Page
from alula.core.task import TaskScope
from alula.executors.process.environment import Environment
from alula.executors.process.environments import builder

from .world import World

DEFAULT = "ghcr.io/flyteorg/flyte:py3.11-v2.12.1"
SYSTEM = TaskScope(project="system", domain="production", name="build-image")


@pytest.fixture
def images(world: World, tmp_path: Path) -> Images:
    return Images("3.11.7", "2.12.1", Blobs(tmp_path / "objects"), world.tasks, world.projects)


@pytest.mark.parametrize("name", ["flyte:py3.11-v2.12.1", DEFAULT, "localhost:5000/flyte:py3.11-v2.12.1"])
async def test_the_default_image_is_here(images: Images, name: str) -> None:
    assert await images.find(name) == DEFAULT


@pytest.mark.parametrize(
    "name", ["flyte:py3.12-v2.12.1", "flyte:py3.11-v2.12.0", "flyte", "flyte:0bc646aa", "", "x/y:1", "a b:c", "..:.."]
)
async def test_others_are_to_be_built(images: Images, name: str) -> None:
    with pytest.raises(NotFound, match=f"build it.*{DEFAULT}"):
        await images.find(name)


async def test_it_is_the_image_that_the_sdk_means(images: Images) -> None:
    own = Environment.own()
    uri = Image.from_debian_base().uri
    here = Images(own.python, own.sdk, images.blobs, images.tasks, images.projects)
    assert await here.find(uri) == uri


async def test_what_was_built_is_here_once_its_recipe_is_complete(images: Images) -> None:
    await images.blobs.put(images.blobs.join("images/mine/0bc6/context.tar.gz"), b"...")
    with pytest.raises(NotFound):
        await images.find("mine:0bc6")
    await images.blobs.put(images.blobs.join("images/mine/0bc6/spec.pb"), b"")
    assert await images.find("mine:0bc6") == "alula.local/mine:0bc6"
    assert await images.find("ghcr.io/me/mine:0bc6") == "alula.local/mine:0bc6"


async def test_the_task_is_deployed_once(images: Images, world: World) -> None:
    for _ in range(2):
        await images.prepare()
    page, _ = await world.tasks.page_of_versions(SYSTEM, Page())
    assert len(page) == 1
    _, body = await world.tasks.get(TaskId("system", "production", "build-image", page[0].task.id.version))
    args = task_definition_pb2.TaskSpec.FromString(body).task_template.container.args
    assert builder.ours(tuple(args)), "the executor knows the builder's command"


async def test_people_do_not_see_its_project(images: Images, world: World) -> None:
    await images.prepare()
    page, _ = await world.projects.page(Page())
    assert "system" not in [project.name for project in page]
    assert (await world.projects.get("system")).name == "system"
