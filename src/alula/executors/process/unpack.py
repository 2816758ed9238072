"""Unpack one code bundle: ``unpack <folder>`` turns ``<folder>/archive`` into ``<folder>/tree``, compiled."""

import compileall
import sys
import tarfile
from pathlib import Path

_MOST_BYTES, _MOST_FILES = 256 * 1024 * 1024, 20_000  # a larger one is not copied for each attempt


def unpack(archive: Path, tree: Path) -> None:
    """Extract and compile. Nothing is written outside ``tree``.

    Raises:
        tarfile.FilterError: a member would be written outside, or is a device.
        ValueError: it is too large.
    """
    tree.mkdir()
    total = count = 0
    with tarfile.open(archive) as bundle:
        for member in bundle:
            total, count = total + member.size, count + 1
            if total > _MOST_BYTES or count > _MOST_FILES:
                raise ValueError(f"more than {_MOST_BYTES} bytes or {_MOST_FILES} files")
            bundle.extract(member, tree, filter="data")
    compileall.compile_dir(tree, quiet=2)


def main() -> None:
    folder = Path(sys.argv[1])
    unpack(folder / "archive", folder / "tree")


if __name__ == "__main__":
    main()
