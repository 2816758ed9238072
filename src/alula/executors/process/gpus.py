"""How busy the GPUs are, by what their driver's own tool says. Standard library only."""

import shutil
import subprocess
from contextlib import suppress

from alula.core.usage import Device

_QUERY = "--query-gpu=index,uuid,utilization.gpu,memory.used"
_PATIENCE = 5.0  # seconds that the tool may take
_MIB = 1024 * 1024


def devices() -> dict[str, Device]:
    """Every GPU, by its number and by its UUID; none, if there is no tool, or it does not answer."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return {}
    with suppress(OSError, subprocess.SubprocessError):
        command = [tool, _QUERY, "--format=csv,noheader,nounits"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=True)
        return parse(ran.stdout)
    return {}


def parse(said: str) -> dict[str, Device]:
    """A line for each: ``0, GPU-..., 35, 1024``; what the driver does not know, it calls ``[N/A]``."""
    found: dict[str, Device] = {}
    for line in said.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 4:
            number, name, busy, memory = fields
            device = Device(name, _number(busy) / 100, _number(memory) * _MIB)
            found |= {number: device, name: device}
    return found


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
