"""What is to come of a workload: one process, without faults, that observes everything in order of time."""

from collections.abc import Iterator
from itertools import pairwise

import msgspec

from sensor import __version__
from sensor.alerts import line_id
from sensor.cluster.manager import Manager
from sensor.cluster.messages import Ack, Counts, Welcome
from sensor.cluster.reporter import Reporter
from sensor.sumstats import EpochEnd, EpochEnds, SumStats
from tools.simulation import detections, workload
from tools.simulation.manager import Heard
from tools.simulation.workload import Workload

_NAME = "alone"


def run(input: Workload, names: tuple[str, ...]) -> Heard:
    """The results and alerts of a workload that is replayed."""
    told_to = detections.make(names)
    manager, heard = Manager(told_to, [_NAME], is_local=True), Heard()
    reporter = _observe(input, names)
    welcome = manager.hello(reporter.hello(__version__, manager.digest), 0.0)
    assert isinstance(welcome, Welcome)
    reporter.receive(welcome, 0.0)
    while messages := reporter.drain(0.0):
        for message in messages:
            manager.receive(_NAME, message, 0.0)
        output = manager.drain()
        for alert in output.alerts:
            heard.hear_alert(line_id(alert), msgspec.json.encode(alert))
        for _, answer in output.messages:
            if isinstance(answer, Ack):
                reporter.receive(answer, 0.0)
    for detection in told_to:
        for told in detection.told:
            heard.hear_result(told)
    return heard


def _observe(input: Workload, names: tuple[str, ...]) -> Reporter:
    """All of it at once: how it is cut makes no difference."""
    definitions = list(detections.definitions(names).values())
    engine = SumStats(definitions, in_step=True, members=0)
    reporter = Reporter(_NAME, 1, engine, definitions)
    end = len(input.edges) - 1
    starts = [0] if input.restart is None else [0, input.restart]
    for run, (first, last) in enumerate(pairwise([*starts, end])):
        for ended in _see(engine, input, names, slice(first, last)):
            reporter.ended(ended, run - ended.restarts)
    for ended in engine.finish(input.latest - input.shift(end)):
        reporter.ended(ended, run)
    reporter.heartbeat(run, input.latest - input.shift(end), Counts(), done=True)
    return reporter


def _see(engine: SumStats, input: Workload, names: tuple[str, ...], blocks: slice) -> Iterator[EpochEnd]:
    """See some blocks, between which packet time does not step back; the epochs that end."""
    shift, edges = input.shift(blocks.start), [input.edges[blocks.start], input.edges[blocks.stop]]
    if input.skews:  # then it does not step back
        edges = [input.earliest, input.latest]
    yield from engine.start(edges[0] - shift)
    ts = input.observations.ts
    seen = input.observations.where((ts >= edges[0]) & (ts < edges[1])).earlier(shift)
    for happened in [*workload.observe(engine, seen, names), *engine.advance(edges[1] - shift)]:
        if isinstance(happened, EpochEnd):
            yield happened
        elif isinstance(happened, EpochEnds):
            yield from happened.singly()
