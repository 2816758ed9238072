"""What the names of images mean here, and what is in an image as paths and variables."""

import pytest

from alula.core import image as images
from alula.core.errors import Invalid
from alula.core.image import Base


@pytest.mark.parametrize(
    ("image", "base"),
    [
        ("ghcr.io/flyteorg/flyte:py3.12-v2.11.0", Base("3.12", "2.11.0")),
        ("flyte:py3.10-v2.12.1", Base("3.10", "2.12.1")),
        ("localhost:30000/flyte:py3.13-v2.12.1b3", Base("3.13", "2.12.1b3")),
        ("ghcr.io/flyteorg/flyte:py3.12-latest", None),
        ("ghcr.io/flyteorg/flyte:py3.12-v2.11.0@sha256:00", None),
        ("ghcr.io/flyteorg/other:py3.12-v2.11.0", None),
        ("python:3.12", None),
        ("", None),
    ],
)
def test_default_images_say_their_versions(image: str, base: Base | None) -> None:
    assert images.default(image) == base


@pytest.mark.parametrize(
    ("image", "base"),
    [
        ("ghcr.io/flyteorg/flyte:py3.12-v2.11.0", Base("3.12", "2.11.0")),
        ("python:3.13-slim-bookworm", Base("3.13", "")),
        ("docker.io/library/python:3.10", Base("3.10", "")),
        ("nvidia/cuda:12", Base("3.11", "2.12.1", known=False)),
        ("", Base("3.11", "2.12.1", known=False)),
    ],
)
def test_what_others_are_built_on(image: str, base: Base) -> None:
    assert images.base(image, "3.11", "2.12.1") == base


@pytest.mark.parametrize("name", ["mine:0bc6", "ghcr.io/me/mine:0bc6", "localhost:5000/a/b/mine:0bc6"])
def test_a_built_image_has_one_name_whatever_its_registry(name: str) -> None:
    assert images.uri(name) == "alula.local/mine:0bc6"
    assert images.recipe("s3://b/images", name) == images.recipe("s3://b/images", images.uri(name))
    assert images.recipe("s3://b/images", name)[0] == "s3://b/images/mine/0bc6/spec.pb"


@pytest.mark.parametrize(
    "name", ["", "mine", "mine:", ":tag", "..:..", "a:..", "../x:y/..", "a b:c", "x:y\n", "a:" + "b" * 200]
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(Invalid, match="it must end in name:tag"):
        images.short(name)


@pytest.mark.parametrize(
    ("image", "ours"),
    [
        ("alula.local/mine:0bc6", True),
        ("ghcr.io/flyteorg/flyte:py3.12-v2.11.0", True),
        ("python:3.12", False),
        ("ghcr.io/me/alula.local/mine:0", False),
    ],
)
def test_whose_images_are_environments(image: str, ours: bool) -> None:
    assert images.ours(image) is ours


@pytest.mark.parametrize(
    ("path", "workdir", "found"),
    [
        (".", "/home/flyte", "/home/flyte"),
        ("src/x", "/home/flyte", "/home/flyte/src/x"),
        ("/app", "/home/flyte", "/app"),
        ("../../../etc", "/home/flyte", "/etc"),
        ("/../..", "/", "/"),
        ("//app//x/", "/", "/app/x"),
        ("x", "relative", "/relative/x"),
    ],
)
def test_paths_stay_inside(path: str, workdir: str, found: str) -> None:
    assert images.inside(path, workdir) == found


def test_env_layers_see_what_came_before() -> None:
    pairs = [("PATH", "/opt/venv/bin:$PATH"), ("A", "1"), ("B", "${A}2 $NOBODY $$"), ("A", "3"), ("URL", "http://x/y")]
    found = images.expand(pairs, {"PATH": "/bin"}, lambda path: path.replace("/opt/venv", "/here"))
    assert found == {"PATH": "/here/bin:/bin", "A": "3", "B": "12 $NOBODY $", "URL": "http://x/y"}
