"""Address scan: one originator looks for one service on many hosts that refuse or do not answer (ATT&CK T1046).

Counts the distinct responders of probes of one kind to one port within an epoch; UDP only while most hosts do not
answer, as a resolver's do. Misses scans slower than an epoch, those whose targets all answer, and SCTP and ICMP sweeps.
"""

from sensor.detection import Alert, Average, Detection, Option, Stream, SumStat, Unique
from sensor_plugins.probes import EVENTS, answered, failed, full_connect, kind_of, probe


def failed_or_answered(batch):
    """Rows of either sort: what is weighed against each other."""
    return failed(batch) | answered(batch)


class AddressScan(Detection):
    attack = "T1046"

    hosts = Option(25, min=2, help="distinct hosts probed on one port that make a scan")
    epoch = Option("5m", help="how long a scanner may take to reach them")

    probes = Stream(*EVENTS, "udp_reply", key=("orig_h", "resp_p", probe), value="resp_h", where=failed_or_answered)
    scan = SumStat(
        epoch=epoch,
        hops=5,
        targets=Unique(probes, where=failed, keep=10),
        answers=Unique(probes, where=answered, max=1000),
        connects=Average(probes, of=full_connect, where=failed),
    )

    @scan.crosses(targets=hosts)
    def scanned(self, key, seen):
        if seen.answers.count > seen.targets.count:
            return None
        kind = kind_of(key.probe, seen.connects.average)
        return Alert(
            f"{key.orig_h} tried port {key.resp_p} on {seen.targets.count} hosts in {seen.span} ({kind} scan)",
            kind=kind,
            proto="udp" if kind == "udp" else "tcp",
            sample=seen.targets.sample,
            same_as=key,
        )
