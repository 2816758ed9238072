"""Which images there are: the default one of the SDK that this server has, under any registry."""

import pytest
from flyte import Image

from alula.control.images import Images
from alula.core.errors import NotFound
from alula.executors.process.environment import Environment

IMAGES = Images("3.11.7", "2.12.1")
DEFAULT = "ghcr.io/flyteorg/flyte:py3.11-v2.12.1"


@pytest.mark.parametrize("name", ["flyte:py3.11-v2.12.1", DEFAULT, "localhost:5000/flyte:py3.11-v2.12.1"])
async def test_the_default_image_is_here(name: str) -> None:
    assert await IMAGES.find(name) == DEFAULT


@pytest.mark.parametrize(
    "name", ["flyte:py3.12-v2.12.1", "flyte:py3.11-v2.12.0", "flyte", "flyte:0bc646aa", "", "x/y:1"]
)
async def test_others_are_to_be_built(name: str) -> None:
    with pytest.raises(NotFound, match=f"build it.*{DEFAULT}"):
        await IMAGES.find(name)


async def test_it_is_the_image_that_the_sdk_means() -> None:
    own = Environment.own()
    uri = Image.from_debian_base().uri
    assert await Images(own.python, own.sdk).find(uri) == uri
