"""GPUs that an attempt was given: its programs see these alone, and a server that comes later knows of them."""

from alula.core.launch import Launch
from alula.executors.process import records

from .conftest import Bench

_CODE = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['NVIDIA_VISIBLE_DEVICES'])"


async def test_an_attempt_sees_its_gpus(lone: Bench) -> None:
    own = {"CUDA_VISIBLE_DEVICES": "all of them"}
    await lone.submit(Launch("one", ("python", "-c", _CODE), own, devices=("GPU-7", "GPU-9")))
    assert await lone.said("one") == "GPU-7,GPU-9 GPU-7,GPU-9\n"


async def test_they_are_remembered(lone: Bench) -> None:
    await lone.submit(Launch("one", ("python", "-c", "input()"), {}, devices=("GPU-7",)))
    marker = records.read(records.Home(lone.home).attempt("one") / records.MARKER)
    assert marker is not None
    assert marker["devices"] == ["GPU-7"]
