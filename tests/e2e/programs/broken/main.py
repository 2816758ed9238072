"""Runs code that cannot be run where tasks run."""

import flyte
from explodes import explodes  # type: ignore[import-not-found]
from syntax import syntax  # type: ignore[import-not-found]
from telling import end, tell  # type: ignore[import-not-found]
from unimportable import unimportable  # type: ignore[import-not-found]

flyte.init_from_config()
run = flyte.with_runcontext(copy_style="all").run
runs = {"syntax": run(syntax), "unimportable": run(unimportable), "explodes": run(explodes)}
tell(**{key: end(one) for key, one in runs.items()})
