"""Data frames, made by the client and by tasks, read by both."""

import asyncio

import flyte
import pandas as pd
from flyte.io import DataFrame
from telling import end, tell  # type: ignore[import-not-found]

env = flyte.TaskEnvironment(name="frames")


@env.task
async def frame(n: int) -> pd.DataFrame:
    return pd.DataFrame({"n": range(n), "name": [f"row {i}" for i in range(n)]})


@env.task
async def sum_frame(table: pd.DataFrame) -> int:
    return int(table["n"].sum())


@env.task
async def wrap_frame(table: DataFrame) -> DataFrame:
    opened = await table.open(pd.DataFrame).all()
    return DataFrame.from_df(opened[opened["n"] > 1])


@env.task
async def frames() -> list[int]:
    table = await frame(4)
    wrapped = await wrap_frame(DataFrame.from_df(table))
    return [await sum_frame(table), len(await wrapped.open(pd.DataFrame).all())]


@env.task
async def columns(table: pd.DataFrame) -> list[str]:
    return [*table.columns, str(len(table))]


if __name__ == "__main__":
    flyte.init_from_config()
    runs = {
        "frames": flyte.run(frames),
        "frame": flyte.run(frame, n=3),
        "columns": flyte.run(columns, table=pd.DataFrame({"p": [1, 2], "q": ["a", "b"]})),
    }
    told = {key: end(run) for key, run in runs.items()}
    table = asyncio.run(told["frame"]["outputs"][0].open(pd.DataFrame).all())
    told["frame"]["outputs"] = table.to_dict(orient="list")
    tell(**told)
