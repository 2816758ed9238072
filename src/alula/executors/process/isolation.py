"""How far an attempt is kept apart from the machine: by namespaces, if that was chosen and the system has them.

Without, an attempt is a process group with a clean environment and folders of its own, and may read and write what the
server's user may. With them (by bubblewrap) the machine's files are read-only, its /tmp, the user's home and the
server's own folder are hidden, and it sees no processes but its own. The network is shared: it has to reach the server.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import alula
from alula.core.errors import Unavailable

_PATIENCE = 10.0  # seconds
_PROGRAM = "bwrap"
_SECRETS = Path("/etc/flyte/secrets")


def check() -> None:
    """Try whether there are namespaces. Blocks: call it in a thread.

    Raises:
        Unavailable: this machine does not let us.
    """
    if shutil.which(_PROGRAM) is None:
        raise Unavailable('executor.isolation = "namespaces" needs bubblewrap: install it, or choose "process"')
    tried = subprocess.run(
        [_PROGRAM, *_namespaces(), "--ro-bind", "/", "/", "true"], capture_output=True, text=True, timeout=_PATIENCE
    )
    if tried.returncode:
        said = tried.stderr.strip().rpartition("\n")[2]
        raise Unavailable(f'executor.isolation = "namespaces": this system refuses them ({said}); choose "process"')


def wrap(command: Sequence[str], home: Path, directory: Path, shown: Sequence[Path] = ()) -> list[str]:
    """The command that runs another one apart.

    Args:
        command: what to run.
        home: the server's folder, which is hidden.
        directory: the attempt's folder, the one place where it may write besides its own /tmp.
        shown: what it may read of what is hidden: its Python, and what that needs.
    """
    hidden = [Path("/tmp"), Path("/var/tmp"), Path.home(), home]  # noqa: S108 - hidden, not used
    needed = [*shown, *(Path(path) for path in (sys.prefix, sys.base_prefix)), Path(alula.__file__).parent.parent]
    options = [*_namespaces(), "--ro-bind", "/", "/", "--dev-bind", "/dev", "/dev", "--proc", "/proc"]
    for path in hidden:
        if path.is_dir() and path != Path("/"):
            options += ["--tmpfs", str(path)]
    for path in needed:
        if any(path.is_relative_to(one) for one in hidden) and path.exists():
            options += ["--ro-bind", str(path), str(path)]
    if (secrets := directory / "secrets").is_dir():
        options += _etc(secrets)
    options += ["--bind", str(directory), str(directory), "--chdir", str(directory / "work")]
    return [_PROGRAM, *options, "--", *command]


def _etc(secrets: Path) -> list[str]:
    """Show an attempt its secrets where programs look for them that do not ask where they are.

    Nothing can be put into the machine's /etc, which is read-only: another one is made of what is in it.
    """
    options = ["--tmpfs", "/etc"]
    for entry in sorted(Path("/etc").iterdir()):
        if entry.name != _SECRETS.parent.name:
            shown = ["--symlink", os.readlink(entry)] if entry.is_symlink() else ["--ro-bind", str(entry)]
            options += [*shown, str(entry)]
    return [*options, "--ro-bind", str(secrets), str(_SECRETS), "--remount-ro", "/etc"]


def _namespaces() -> list[str]:
    user = [] if os.getuid() == 0 else ["--unshare-user"]
    return [*user, "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent"]
