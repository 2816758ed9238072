"""What a log says of memory, disk and time. Standard library only."""

import sys
from collections.abc import Mapping
from typing import Any

_UNITS = ("KiB", "MiB", "GiB", "TiB")


def size(number: float) -> str:
    """An amount of bytes, in three digits."""
    unit = "B"
    for larger in _UNITS:
        if number < 1000:
            break
        number, unit = number / 1024, larger
    return f"{number:.3g} {unit}"


def resident(record: Mapping[str, Any]) -> int:
    """The most bytes that a main process had in memory, as its end says it: KiB but for one kind of machine."""
    told = int(record.get("max_rss", 0))
    return told if sys.platform == "darwin" else told * 1024


def out_of_memory(used: int, limit: int) -> str:
    """For the log of an attempt that the kernel, or whoever watched it, has killed for what it used."""
    if not limit:
        return f"out of memory: used {size(used)}, and the machine had no more; ask for it with Resources(memory=...)"
    return (
        f"out of memory: used {size(used)} of {size(limit)} (the limit of the task); "
        "ask for more with Resources(memory=...)"
    )


def too_much_disk(used: int, limit: int) -> str:
    """For an attempt that was ended because of what it wrote."""
    return (
        f"too much disk: its folder takes {size(used)} of {size(limit)} (the limit of the task); "
        "ask for more with Resources(disk=...)"
    )


def ended(say: str, record: Mapping[str, Any], limit: int) -> str:
    """The last line of a log: how an attempt ended (``say``), why, and what it took. ``limit``: bytes of memory."""
    parts = [say]
    if record.get("out_of_memory"):
        parts.append(out_of_memory(max(record.get("peak", 0), limit), limit))
    elif record.get("exceeded"):
        parts.append(record["exceeded"])
    if record.get("peak"):
        parts.append(f"{record.get('cpu', 0.0):.1f} s CPU, peak memory {size(record['peak'])}")
    return "; ".join(parts)
