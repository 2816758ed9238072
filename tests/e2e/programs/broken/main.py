"""Runs code that cannot be run where tasks run."""

import flyte
from explodes import explodes
from syntax import syntax
from telling import end, tell
from unimportable import unimportable

flyte.init_from_config()
run = flyte.with_runcontext(copy_style="all").run
runs = {"syntax": run(syntax), "unimportable": run(unimportable), "explodes": run(explodes)}
tell(**{key: end(one) for key, one in runs.items()})
