"""The task runtime inside a worker: the SDK's own entry for a process that serves many actions (`rusty`)."""

import asyncio
import os
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import datetime, timezone
from typing import Any

from alula.executors.process import near

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - Python 3.10; what a0 takes for a start it cannot read
_TRUE = ("1", "true", "t", "yes", "y", "on")

attempt: ContextVar[int] = ContextVar("alula_attempt", default=0)


class Runtime:
    """One controller, one set of clients and each task loaded once, for as long as the process lives."""

    def __init__(self) -> None:
        self._controller: Any = None
        self._bundles: dict[str, Any] = {}
        self._tasks: dict[tuple[str, ...], Any] = {}
        self._loading = asyncio.Lock()

    async def open(self) -> None:
        """Connect to the server.

        Raises:
            Exception: whatever the SDK raises; nothing can be run.
        """
        sys.path.insert(0, ".")
        from flyte._internal.runtime import rusty

        insecure = os.environ.get("_U_INSECURE", "").lower() in _TRUE
        endpoint = os.environ.get("_U_EP_OVERRIDE", "")
        self._controller = await rusty.create_controller(endpoint, insecure)
        _count_attempts()
        with suppress(AttributeError):
            _end_parents_only(self._controller)
        near.install(durable=False)

    async def failed(self) -> Exception:
        """Returns when no action can be started any more from here, with the reason."""
        try:
            await self._controller.watch_for_errors()
        except Exception as error:
            return error
        return RuntimeError("the controller ended")

    async def run(self, arguments: Mapping[str, str], env: Mapping[str, str]) -> int:
        """Run one attempt as `a0` would; its exit code. Outputs or an error document are written by then."""
        from flyte import errors
        from flyte._internal.runtime import rusty

        attempt.set(int(env.get("FLYTE_ATTEMPT_NUMBER") or 0))
        try:
            task, bundle = await self._load(arguments)
        except Exception as error:
            traceback.print_exc()
            await self.write_error(error, arguments["outputs"])
            return 1
        try:
            await rusty.run_task(
                task=task,
                controller=self._controller,
                org=arguments.get("org") or os.environ["_U_ORG_NAME"],
                project=arguments.get("project") or os.environ["FLYTE_INTERNAL_EXECUTION_PROJECT"],
                domain=arguments.get("domain") or os.environ["FLYTE_INTERNAL_EXECUTION_DOMAIN"],
                run_name=arguments["run"],
                name=arguments["name"],
                raw_data_path=arguments.get("raw", ""),
                output_path=arguments["outputs"],
                run_base_dir=arguments.get("base") or env["_U_RUN_BASE"],
                version=arguments["version"],
                image_cache=arguments.get("images"),
                checkpoint_path=arguments.get("checkpoint"),
                prev_checkpoint=arguments.get("previous"),
                code_bundle=bundle,
                input_path=arguments["inputs"],
                run_start_time=_time(arguments.get("started", "")),
            )
        except (errors.RuntimeSystemError, errors.RuntimeUserError) as error:
            traceback.print_exc()
            await self.write_error(error, arguments["outputs"])
        except Exception:
            traceback.print_exc()
            return 1
        return 0

    async def write_error(self, error: Exception, outputs: str) -> None:
        """Leave an error document, as `a0` does."""
        from flyte._internal.runtime.convert import convert_from_native_to_error
        from flyte._internal.runtime.io import upload_error

        converted = convert_from_native_to_error(error)
        await upload_error(converted.err, outputs, recoverable=converted.recoverable)

    async def _load(self, arguments: Mapping[str, str]) -> tuple[Any, Any]:
        """The task and its code bundle. What was loaded once is here."""
        from flyte._internal.runtime import rusty

        names = ("tgz", "pkl", "resolver", "rest", "version")
        key = tuple(arguments.get(name, "") for name in names)
        code, destination = arguments.get("pkl") or arguments.get("tgz") or "", arguments.get("destination", ".")
        bundle: Any
        async with self._loading:
            if key not in self._tasks:
                if "pkl" in arguments:
                    bundle, task = await rusty.download_load_pkl(destination, arguments["version"], code)
                else:
                    bundle = self._bundles.get(code)
                    if code and code not in self._bundles:
                        bundle = await rusty.download_tgz(destination, arguments["version"], code)
                    rest = arguments["rest"].split("\n")
                    task = rusty.load_task_from_code_bundle(arguments["resolver"], rest)
                self._bundles[code], self._tasks[key] = bundle, task
        return self._tasks[key], self._bundles[code]


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text.rstrip().replace("Z", "+00:00"))
    except ValueError:
        return _EPOCH
    return at if at.tzinfo is not None else at.replace(tzinfo=_EPOCH.tzinfo)


def _end_parents_only(controller: Any) -> None:
    """The controller's thread need not be told of the end of an attempt that has called nobody. 0.3 ms."""
    finalize, known = controller.finalize_parent_action, controller._informers._cache  # noqa: SLF001

    async def finalize_parent_action(action_id: Any) -> None:
        if f"{action_id.run_name}.{action_id.name}" in known:
            await finalize(action_id)

    controller.finalize_parent_action = finalize_parent_action


def _count_attempts() -> None:
    """The SDK reads an attempt's number from the process's environment, which several attempts share here."""
    from flyte import models

    context: Any = models.TaskContext
    context.attempt_number = property(lambda _: attempt.get())
