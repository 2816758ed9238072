"""Looks at the triggers that are deployed, runs one by hand, and tells."""

import json
import sys

import flyte
import flyte.remote


def main() -> None:
    flyte.init_from_config()
    trigger = flyte.remote.Trigger.get(name="by_hand", task_name="scheduled.report")
    plain = flyte.run(trigger)
    plain.wait()
    said = flyte.run(trigger, x=6)
    said.wait()
    found = list(flyte.remote.Trigger.listall(task_name="scheduled.report"))
    flyte.remote.Trigger.update("soon", "scheduled.report", active=False)
    told = {
        "plain": next(iter(plain.outputs())),
        "said": next(iter(said.outputs())),
        "listed": sorted((one.name, one.is_active) for one in found),
        "after": flyte.remote.Trigger.get(name="soon", task_name="scheduled.report").is_active,
    }
    print(json.dumps(told))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
