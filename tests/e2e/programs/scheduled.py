"""Tasks that are fired by the clock: at a rate, every minute, and by whoever says so."""

import os
from datetime import UTC, datetime

import flyte

env = flyte.TaskEnvironment(name="scheduled")
START = datetime.fromtimestamp(float(os.environ.get("START", "4102444800")), UTC)


@env.task(
    triggers=(
        flyte.Trigger(
            name="soon",
            automation=flyte.FixedRate(60, start_time=START),
            inputs={"when": flyte.TriggerTime, "x": 4},
            env_vars={"COLOUR": "blue"},
            custom_context={"team": "red"},
        ),
        flyte.Trigger(
            name="never",
            automation=flyte.Cron("0 9 * * 1-5", timezone="Europe/Paris"),
            auto_activate=False,
            inputs={"when": flyte.TriggerTime},
        ),
        flyte.Trigger(name="by_hand", inputs={"when": START, "x": 5}),
    )
)
async def report(when: datetime, x: int = 1) -> list[str]:
    """What it was started with."""
    return [when.isoformat(), str(x), os.environ.get("COLOUR", ""), str(flyte.ctx().custom_context)]
