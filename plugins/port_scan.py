"""Port scan: one originator looks for many services on one host (ATT&CK T1046).

Counts the distinct ports of one responder that probes of one kind reached within an epoch and that were refused, not
answered, or answered and left unused. Misses scans slower than an epoch, SCTP, and Maimon (FIN/ACK) and idle scans.
"""

from sensor.detection import Alert, Average, Detection, Option, Stream, SumStat, Unique
from sensor_plugins.probes import EVENTS, full_connect, kind_of, probe, unused


class PortScan(Detection):
    attack = "T1046"

    ports = Option(15, min=2, help="distinct ports probed on one host that make a scan")
    epoch = Option("5m", help="how long a scanner may take to reach them")

    probes = Stream(*EVENTS, key=("orig_h", "resp_h", probe), value="resp_p", where=unused)
    scan = SumStat(epoch=epoch, hops=5, targets=Unique(probes, keep=10), connects=Average(probes, of=full_connect))

    @scan.crosses(targets=ports)
    def scanned(self, key, seen):
        kind = kind_of(key.probe, seen.connects.average)
        return Alert(
            f"{key.orig_h} tried {seen.targets.count} ports of {key.resp_h} in {seen.span} ({kind} scan)",
            kind=kind,
            proto="udp" if kind == "udp" else "tcp",
            sample=seen.targets.sample,
            same_as=key,
        )
