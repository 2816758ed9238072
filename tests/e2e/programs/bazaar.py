"""The connector of `warehouse.py`, served as an app; nobody but its tasks asks for it."""

import flyte
import flyte.app
import flyte.remote
from telling import end, tell  # type: ignore[import-not-found]
from warehouse import Query, env, token  # type: ignore[import-not-found]

connector = flyte.app.ConnectorEnvironment(
    name="bazaar",
    image=flyte.Image.from_debian_base(),
    include=("warehouse.py",),
    scaling=flyte.app.Scaling(replicas=(0, 1), scaledown_after=60),
)
unknown = Query("unknown", 0.5, secrets=token)
unknown.task_type = "riddle"
riddles = flyte.TaskEnvironment.from_task("riddles", unknown)

if __name__ == "__main__":
    flyte.init_from_config()
    flyte.remote.Secret.create("warehouse-token", "hush-hush")
    flyte.deploy(connector)
    asked = flyte.run(env.tasks["asks.ask"], question="why")
    riddle = flyte.run(unknown, question="what")
    tell(asked=end(asked), unknown=end(riddle))
