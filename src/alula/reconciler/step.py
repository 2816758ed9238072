"""One step for one action: read, observe, decide, act, record."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from alula.base.clock import Clock
from alula.blobs.store import Blobs
from alula.control.artifacts import Artifacts
from alula.control.attempts import Attempts
from alula.control.caching import Busy, Caching, Hit, Miss
from alula.core.action import Action, Blame, Event, Failure, Kind, Link, Note
from alula.core.decide import (
    Conclusion,
    Expire,
    Judge,
    LookUp,
    Move,
    Release,
    Retry,
    Settle,
    Submit,
    Wait,
    conclude,
    conclude_expired,
    decide,
    decide_condition,
)
from alula.core.errors import LaunchRefused
from alula.core.expiry import next_expiry
from alula.core.launch import Observation, Presence
from alula.core.naming import attempt_name
from alula.core.phase import Phase
from alula.core.timing import spent
from alula.core.verdict import OUT_OF_MEMORY, Written, explain, judge
from alula.executors.base import Executor
from alula.reconciler.admission import Admission
from alula.reconciler.harvest import checkpoint, harvest, tail, with_inputs
from alula.reconciler.hints import Hints, Key
from alula.reconciler.places import Destinations, Places
from alula.reconciler.sleeper import awake_or_asleep
from alula.wire.taskactions import with_memory

_AGAIN = 5.0  # seconds; who waits for another's result is told of it, and looks itself if it is not
_BRIEF = 0.05  # seconds
_UNTOLD = timedelta(seconds=1)  # clusters tell whole seconds of when something began
_LOST = Observation(Presence.LOST)


@dataclass(frozen=True, slots=True)
class Verbs:
    """What steps say to the rows."""

    attempts: Attempts
    caching: Caching
    artifacts: Artifacts


class Steps:
    """Takes steps. Create before you record, record before you destroy: a crash anywhere costs at most a repetition."""

    def __init__(
        self,
        verbs: Verbs,
        executor: Executor,
        blobs: Blobs,
        places: Admission | Places,
        clock: Clock,
        destinations: Destinations,
    ) -> None:
        self._attempts = verbs.attempts
        self._caching = verbs.caching
        self._artifacts = verbs.artifacts
        self._executor = executor
        self._blobs = blobs
        self._admission = places
        self._clock = clock
        self._destinations = destinations
        self._brief: dict[str, asyncio.TimerHandle] = {}  # until it is told that they have begun
        self.names: dict[str, Key] = {}  # of the attempts that exist, as far as this process knows

    async def take(self, key: Key, hints: Hints) -> None:
        """Look at one action and do what is next.

        Raises:
            Stale: the row moved on meanwhile: look again.
        """
        action = await self._attempts.read(*key)
        if action is None or not action.hosted:
            hints.add(self._admission.free(key))  # of a run that was deleted
            return
        if not action.phase.terminal:
            hints.add(self._admission.rest(action))
        if action.kind is Kind.CONDITION:
            await self._wait_for_signal(action, hints)
        else:
            await self._take(action, key, hints)

    async def _take(self, action: Action, key: Key, hints: Hints) -> None:
        name = attempt_name(action.id, action.attempt)
        seen = await self._see(action, name)
        now = self._clock()
        due = now - _UNTOLD if seen is not None and seen.cluster else now  # no limit is reached too early
        if (expiry := next_expiry(action)) is not None and not action.phase.terminal:
            hints.add_later(key, (expiry.at - due).total_seconds())
        match decide(action, seen, due):
            case LookUp():
                await self._look_up(action, hints)
            case Submit():
                await self._submit(action, name, hints)
            case Move(phase):
                await self._attempts.moved(action, _reached(action, phase, seen or _LOST, now))
                if action.policy.max_runtime:
                    hints.add([key])  # its time runs from now on
            case Expire(failure):
                await self._expire(action, name, seen, failure)
                await self._make_room(action, hints)
            case Judge():
                await self._judge(action, name, seen or _LOST)
                await self._make_room(action, hints)
            case Release():
                await self._release(name)
                await self._make_room(action, hints)
            case Wait(until):
                if action.phase.terminal:
                    await self._make_room(action, hints)
                if until is not None:
                    hints.add_later(key, (until - now).total_seconds())

    async def _see(self, action: Action, name: str) -> Observation | None:
        seen = await self._executor.observe(name)
        if seen is None and action.phase >= Phase.INITIALIZING and not action.phase.terminal:
            return await self._destinations.look(action, name)
        return seen

    def waits(self, key: Key) -> bool:
        """Whether an action only waits for a place: it is told when there is one."""
        return self._admission.waits(key)

    def forget(self, key: Key, hints: Hints) -> None:
        """An action is not this replica's to work on: others may have its place."""
        hints.add(self._admission.free(key))

    async def end(self, name: str, hints: Hints) -> None:
        """End an attempt that is not to exist (any more): its action has moved on, or is another replica's."""
        key = self.names.get(name)
        await self._release(name)
        if key is not None and key not in self.names.values():
            hints.add([*self._admission.free(key), key])

    async def _make_room(self, action: Action, hints: Hints) -> None:
        """An attempt is over: others may have its place, and who waits for its result looks for it."""
        hints.add(self._admission.free((action.run_key, action.id.name)))
        if action.cache_key and action.policy.serialize:
            hints.add(await self._caching.waiting(action))

    async def _look_up(self, action: Action, hints: Hints) -> None:
        key = (action.run_key, action.id.name)
        match await self._caching.claim(action):
            case Hit(entry):
                await self._attempts.hit(action, entry)
            case Miss(status):
                await self._attempts.looked_up(action, status)
                hints.add([key])
            case Busy(owner):
                if action.phase is Phase.QUEUED:
                    now = self._clock()
                    text = f"waits for {owner}, which works out the same result"
                    await self._attempts.moved(action, _waiting(action, now, text))
                hints.add_later(key, _AGAIN)

    async def _wait_for_signal(self, action: Action, hints: Hints) -> None:
        now = self._clock()
        match decide_condition(action, now):
            case Settle(phase, failure):
                await self._attempts.settle(action, [_end(action, phase, now, failure)])
            case Wait(until) if until is not None:
                hints.add_later((action.run_key, action.id.name), (until - now).total_seconds())

    async def _submit(self, action: Action, name: str, hints: Hints) -> None:
        key = (action.run_key, action.id.name)
        try:
            admitted = await self._admission.admit(action, hints)
            if admitted is None:
                return
            action = admitted.action
            run, spec, secrets = await self._attempts.plan(action)
            resumes = await checkpoint(self._blobs, action)
            ready = self._destinations.launch(action, run, spec, secrets, resumes)
            if ready.cluster:
                ready = await with_inputs(self._blobs, with_memory(ready, admitted.resources))
            else:
                ready = await awake_or_asleep(self._blobs, action, spec, ready)
            action = await self._attempts.starting(action)
            self.names[name] = key
            await self._executor.submit(replace(ready, resources=admitted.resources, devices=admitted.devices))
        except LaunchRefused as refusal:
            self.names.pop(name, None)
            failure = Failure(refusal.code, str(refusal), Blame.USER, recoverable=False)
            await self._attempts.settle(action, [_end(action, Phase.FAILED, self._clock(), failure)])
            await self._make_room(action, hints)
            return
        if ready.reuse is None:
            hints.add([key])
        else:  # it may be over before that can be told
            self._brief[name] = hints.add_later(key, _BRIEF)

    async def count(self, names: Mapping[str, Key], hints: Hints) -> None:
        """These attempts exist: what they use is not free."""
        for name, key in names.items():
            if self._admission.holds(key):
                continue
            action, seen = await self._attempts.read(*key), await self._executor.observe(name)
            if action is not None and seen is not None:
                await self._admission.count(action, seen)
                now = await self._attempts.read(*key)
                if now is None or now.phase.terminal:  # it ended meanwhile, and what it held is free
                    hints.add(self._admission.free(key))

    async def _judge(self, action: Action, name: str, seen: Observation) -> None:
        written = await harvest(self._blobs, action)
        verdict = judge(seen, written, expects_outputs=action.policy.outputs)
        now = self._clock()
        conclusion = conclude(action, verdict, now)
        if verdict.failure is not None and verdict.failure.code == OUT_OF_MEMORY:
            conclusion = await self._admission.more_memory(action, verdict.failure) or conclusion
        await self._record(
            action, conclusion, _story(action, _ended_as(conclusion), conclusion.failure, seen, written, now)
        )
        await self._release(name)

    async def _expire(self, action: Action, name: str, seen: Observation | None, failure: Failure) -> None:
        """End an attempt whose time is over. A result that it wrote before it ended counts all the same."""
        said = await tail(self._executor, name) if seen is not None and seen.cluster else ""  # its pods go at once
        await self._release(name)
        written = await harvest(self._blobs, action)
        now = self._clock()
        if written.error is not None or written.outputs:
            verdict = judge(Observation(Presence.EXITED, exit_code=0), written, expects_outputs=action.policy.outputs)
            conclusion = conclude(action, verdict, now)
            phase = _ended_as(conclusion)
        else:
            if seen is not None:
                failure = replace(failure, message=explain(failure.message, said or await tail(self._executor, name)))
            conclusion, phase = conclude_expired(action, failure, now), Phase.TIMED_OUT
        end = _end(action, phase, now, conclusion.failure, written if seen is not None or action.logged else None)
        await self._record(action, conclusion, [end])

    async def _record(self, action: Action, conclusion: Conclusion, story: Sequence[Event]) -> None:
        match conclusion:
            case Settle(phase):
                if phase is Phase.SUCCEEDED and action.policy.artifacts:
                    story = await self._with_artifacts(action, story)
                await self._attempts.settle(action, story)
            case Retry():
                await self._attempts.retry(action, story, conclusion)

    async def _with_artifacts(self, action: Action, story: Sequence[Event]) -> Sequence[Event]:
        """Publish what the outputs declare; what was refused is told with the attempt's end."""
        last = story[-1]
        if not last.output_uri:
            return story
        refused = await self._artifacts.register_from(action, await self._blobs.get(last.output_uri))
        notes = tuple(Note(last.at, text) for text in refused)
        return [*story[:-1], replace(last, notes=last.notes + notes)]

    async def _release(self, name: str) -> None:
        await self._executor.release(name)
        self.names.pop(name, None)
        if (timer := self._brief.pop(name, None)) is not None:
            timer.cancel()


def _ended_as(conclusion: Conclusion) -> Phase:
    return conclusion.phase if isinstance(conclusion, Settle) else Phase.FAILED


def _reached(action: Action, phase: Phase, seen: Observation, now: datetime) -> Event:
    at = seen.started_at or now
    new = seen.notes[1:] if action.logged else seen.notes  # what it waited for was told before
    if seen.cluster:  # its Manager tells, and at the end all is told; but that there is no room is told with that
        new = seen.notes[-1:] if phase is Phase.WAITING_FOR_RESOURCES else ()
    notes = tuple(Note(at, text) for text in new)
    return Event(action.id.name, action.attempt, phase, 0, at, logged=True, notes=notes, cluster=seen.cluster)


def _waiting(action: Action, now: datetime, text: str) -> Event:
    phase = Phase.WAITING_FOR_RESOURCES
    return Event(action.id.name, action.attempt, phase, 0, now, notes=(Note(now, text),))


def _story(
    action: Action, phase: Phase, failure: Failure | None, seen: Observation, written: Written, now: datetime
) -> Sequence[Event]:
    """How an attempt ended, and that it ran, if it was over before that was written down."""
    end = _end(action, phase, seen.ended_at or now, failure, written)
    if seen.timings:
        end = replace(end, notes=(Note(end.at, spent(seen.timings)),))
    if seen.cluster:
        links = tuple(Link(link.name, link.uri) for link in seen.links)
        notes = tuple(Note(end.at, text) for text in seen.notes)
        end = replace(end, cluster=seen.cluster, links=links, notes=notes)
    if seen.started_at is None or action.phase >= Phase.RUNNING:
        return [end]
    return [_reached(action, Phase.RUNNING, seen, now), end]


def _end(action: Action, phase: Phase, at: datetime, failure: Failure | None, written: Written | None = None) -> Event:
    left = written or Written()
    return Event(
        action=action.id.name,
        attempt=action.attempt,
        phase=phase,
        version=0,
        at=at,
        failure=failure,
        output_uri=f"{action.output_uri}/outputs.pb" if left.outputs else "",
        report_uri=f"{action.output_uri}/report.html" if left.report else "",
        logged=written is not None,
    )
