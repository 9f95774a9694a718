"""What is to come of a workload: one process, without faults, that observes everything in order of time."""

import msgspec

from sensor import __version__
from sensor.cluster.manager import Manager
from sensor.cluster.messages import Ack, Counts, Welcome
from sensor.cluster.reporter import Reporter
from sensor.sumstats import EpochEnd, SumStats
from tools.simulation import workload
from tools.simulation.manager import Heard, id_of
from tools.simulation.workload import Workload

_NAME = "alone"


def run(input: Workload) -> Heard:
    """The results and alerts of a workload that is replayed: epochs are cut from its start."""
    detections = workload.make()
    manager, heard = Manager(detections, [_NAME], is_local=True), Heard()
    reporter = _observe(input)
    welcome = manager.hello(reporter.hello(__version__, manager.digest), 0.0)
    assert isinstance(welcome, Welcome)
    reporter.receive(welcome, 0.0)
    while messages := reporter.take(0.0):
        for message in messages:
            manager.receive(_NAME, message, 0.0)
        output = manager.take()
        for alert in output.alerts:
            heard.hear_alert(id_of(alert), msgspec.json.encode(alert))
        for _, answer in output.messages:
            if isinstance(answer, Ack):
                reporter.receive(answer, 0.0)
    for detection in detections:
        for told in detection.told:
            heard.hear_result(told)
    return heard


def _observe(input: Workload) -> Reporter:
    """All of it at once: how it is cut makes no difference."""
    definitions = list(workload.definitions().values())
    engine = SumStats(definitions, members=0)
    reporter = Reporter(_NAME, 1, engine, definitions)
    engine.start(input.start)
    for happened in workload.observe(engine, input.observations):
        if isinstance(happened, EpochEnd):
            reporter.ended(happened)
    for end in engine.finish(input.edges[-1]):
        reporter.ended(end)
    reporter.heartbeat(0, input.edges[-1], Counts(), done=True)
    return reporter
