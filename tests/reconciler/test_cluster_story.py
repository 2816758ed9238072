"""What a cluster tells of an attempt, from its executor to what clients read of the action."""

from alula.core.launch import Presence
from alula.core.phase import Phase
from alula.core.route import Claim, Routes
from alula.core.taskaction import Cause, Link
from alula.reconciler.places import Destinations
from alula.wire.actions import details_message
from alula.wire.taskactions import Destination

from .ground import Process
from .server import Server

MOUNT = 'FailedMount: MountVolume.SetUp failed for volume "data" : secret "r1-data" not found'


async def _fail(process: Process) -> None:
    process.ground.see(
        process.launch.name,
        presence=Presence.EXITED,
        cluster="east",
        links=(Link("Logs", "https://logs.example.com/r1-a0"),),
        notes=(MOUNT,),
        cause=Cause("ContainersNotReady|ContainerCreating", "not created within 1:00:00\nWhat to do: see its events"),
    )


async def test_links_notes_and_causes_are_in_the_details_of_an_action(server: Server) -> None:
    server.destinations = Destinations({}, {"east": Destination("east", {})}, Routes({"east": Claim(rest=True)}))
    server.ground.play = _fail
    who = await server.start()
    async with server.at_work():
        assert (await server.end()).phase is Phase.FAILED
    async for details in server.world.actions.watch(who):
        last = details
    (attempt,) = details_message(last, "").attempts
    assert [(link.name, link.uri) for link in attempt.log_info] == [("Logs", "https://logs.example.com/r1-a0")]
    assert [event.message for event in attempt.cluster_events] == [MOUNT]
    assert attempt.cluster == "east"
    assert attempt.error_info.code == "ContainersNotReady|ContainerCreating"
    assert "What to do: see its events" in attempt.error_info.message
