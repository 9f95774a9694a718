"""Random scan: one originator looks for many services on many hosts (ATT&CK T1046).

One alert stands for the whole: while it lasts, the originator's address and port scans are folded into it. Misses
scans slower than an epoch; a BitTorrent client whose peers are mostly gone looks the same.
"""

from sensor.detection import Alert, Detection, Option, Stream, SumStat, Unique
from sensor_plugins.probes import EVENTS, failed


class RandomScan(Detection):
    attack = "T1046"
    severity = "high"

    pairs = Option(50, min=2, help="distinct pairs of host and port that make a scan")
    hosts = Option(5, min=2, help="distinct hosts that must be among them")
    ports = Option(5, min=2, help="distinct ports that must be among them")
    epoch = Option("5m", help="how long a scanner may take to reach them")

    probes = Stream(*EVENTS, key="orig_h", value=("resp_h", "resp_p"), where=failed)
    scan = SumStat(
        epoch=epoch,
        hops=5,
        pairs=Unique(probes, keep=10),
        hosts=Unique(probes, of="resp_h"),
        ports=Unique(probes, of="resp_p"),
    )

    @scan.crosses(pairs=pairs, hosts=hosts, ports=ports)
    def scanned(self, key, seen):
        return Alert(
            f"{key.orig_h} tried {seen.ports.count} ports on {seen.hosts.count} hosts in {seen.span}",
            kind="random",
            sample=[f"{host}:{port}" if host.version == 4 else f"[{host}]:{port}" for host, port in seen.pairs.sample],
            same_as=key,
            covers=("address_scan", "port_scan"),
        )
