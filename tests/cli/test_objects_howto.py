"""What docs/howto/objects.md shows is what a server takes."""

import re
from pathlib import Path

import pytest

from alula.app.config import load
from alula.blobs.account import KEYS

HOWTO = Path(__file__).parents[2] / "docs" / "howto" / "objects.md"
EXAMPLES = re.findall(r"```toml\n(.*?)```", HOWTO.read_text(), re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: text.splitlines()[0][:40])
def test_examples_are_configurations(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r'env = "(\w+)"', text):
        monkeypatch.setenv(name, "x")
    (tmp_path / "key").write_text("x")
    path = tmp_path / "alula.toml"
    path.write_text(re.sub(r'file = "[^"]+"', 'file = "key"', text))
    settings = load(path)
    assert settings.objects.remote


def test_all_variables_of_a_secret_are_named() -> None:
    text = HOWTO.read_text()
    assert all(f"`{name}`" in text for names in KEYS.values() for name in names)
