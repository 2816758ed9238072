"""Attempts are a fold over an action's events."""

from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby

from alula.core.action import Attempt, CacheStatus, Event, Link, Note, Transition
from alula.core.phase import follows


def attempts(events: Iterable[Event]) -> list[Attempt]:
    """The attempts of one action, first to last.

    Within an attempt phases only go forward and the first terminal event ends it; what was reported later than that
    changes nothing but its notes, its links and where its log is.
    """
    ordered = sorted(events, key=lambda e: (e.attempt, e.seq))
    return [_fold(number, list(group)) for number, group in groupby(ordered, key=lambda e: e.attempt)]


def _fold(number: int, events: Sequence[Event]) -> Attempt:
    counted = list(_forward(events))
    last = counted[-1]
    start = counted[0].at
    return Attempt(
        number=number,
        phase=last.phase,
        start=start,
        end=max(last.at, start) if last.phase.terminal else None,
        transitions=_transitions(counted),
        failure=last.failure,
        output_uri=next((e.output_uri for e in reversed(counted) if e.output_uri), ""),
        report_uri=next((e.report_uri for e in reversed(counted) if e.report_uri), ""),
        logged=any(e.logged for e in events),
        log_context=next((e.log_context for e in reversed(events) if e.log_context), b""),
        cluster=next((e.cluster for e in reversed(counted) if e.cluster), ""),
        notes=_different(note for e in events for note in e.notes),
        links=_latest_links(events),
        cache_status=next((e.cache_status for e in reversed(counted) if e.cache_status), CacheStatus.DISABLED),
        cache_source=next((e.cache_source for e in reversed(counted) if e.cache_source), ""),
    )


def _different(notes: Iterable[Note]) -> tuple[Note, ...]:
    """Each text once: what a cluster tells may be heard in two ways."""
    first: dict[str, Note] = {}
    for note in notes:
        first.setdefault(note.text, note)
    return tuple(first.values())


def _latest_links(events: Sequence[Event]) -> tuple[Link, ...]:
    """Each name's latest link, in the order of names."""
    named = {link.name: link for e in events for link in e.links}
    return tuple(named[name] for name in sorted(named))


def _forward(events: Sequence[Event]) -> Iterable[Event]:
    """The events that moved the attempt on: reports may come late, and take nothing back."""
    reached = None
    for event in events:
        if reached is None or follows(reached, event.phase):
            reached = event.phase
            yield event


def _transitions(events: Sequence[Event]) -> tuple[Transition, ...]:
    """First entry into each phase; each closes the one before, and a terminal one is closed as it opens.

    None begins before the one before it: clusters tell whole seconds.
    """
    entered = [next(group) for _, group in groupby(events, key=lambda e: e.phase)]
    begun = list(accumulate((e.at for e in entered), max))
    closings = [*begun[1:], begun[-1] if entered[-1].phase.terminal else None]
    return tuple(Transition(e.phase, at, end) for e, at, end in zip(entered, begun, closings, strict=True))
