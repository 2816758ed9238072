"""Ten builds of one image at once, as ten clients that need it would start them."""

import asyncio

import flyte
import flyte.remote
from flyte._internal.imagebuild.remote_builder import _validate_configuration
from telling import end, tell  # type: ignore[import-not-found]

IMAGE = flyte.Image.from_debian_base(name="ten").with_pip_packages("iniconfig").with_env_vars({"TEN": "at once"})


async def main() -> None:
    spec, context = await _validate_configuration(IMAGE)
    build = flyte.remote.Task.get("build-image", project="system", domain="production", auto_version="latest")
    runs = await asyncio.gather(
        *(flyte.run.aio(build, spec=spec, context=context, target_image="ten:at-once") for _ in range(10))
    )
    ended = await asyncio.gather(*(asyncio.to_thread(end, run) for run in runs))
    logs = [await asyncio.to_thread(log, run) for run in runs]
    tell(ended=ended, logs=logs)


def log(run: flyte.remote.Run) -> str:
    return "".join(run.get_logs(filter_system=True))


if __name__ == "__main__":
    flyte.init_from_config()
    asyncio.run(main())
