"""Where an attempt's time went, in words."""

from collections.abc import Mapping


def spent(timings: Mapping[str, float]) -> str:
    """``time: queue 0.012 s, boot 0.003 s, ..., in all 0.040 s``, from the seconds of each step."""
    parts = [f"{step} {seconds:.3f} s" for step, seconds in timings.items()]
    return f"time: {', '.join(parts)}, in all {sum(timings.values()):.3f} s"
