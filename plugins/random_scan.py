"""Random scan: one originator looks for many services on many hosts (ATT&CK T1046).

Counts the distinct pairs of host and port that were tried in vain within an epoch, and weighs them against those that
the originator uses. A host that is met on one port alone by UDP, or in mid-stream, does not count. One alert stands
for the whole: while it lasts, the originator's address and port scans are folded into it. Misses scans slower than an
epoch. A BitTorrent client most of whose peers are gone looks alike, and is told low.
"""

from sensor.detection import Alert, Average, Detection, Max, Option, Stream, SumStat, Unique
from sensor_plugins._probes import (
    ENDS,
    USED,
    begun,
    checked,
    confirmed,
    failed,
    failed_and_heard,
    failed_or_used,
    full_connect,
    is_udp,
    loose,
    midstream,
    recovered,
    used,
)
from sensor_plugins._weighing import is_check, is_known, weigh


class RandomScan(Detection):
    attack = "T1046"
    severity = "high"

    pairs = Option(50, min=2, help="distinct pairs of host and port that make a scan")
    hosts = Option(5, min=2, help="distinct hosts that must be among them")
    ports = Option(5, min=2, max=65535, help="distinct ports that must be among them")
    epoch = Option("5m", help="how long a scanner may take to reach them")

    probes = Stream(*ENDS, USED, key="orig_h", value=("resp_h", "resp_p"), where=failed_or_used)
    scan = SumStat(
        epoch=epoch,
        pairs=Unique(probes, where=failed, keep=10, when="ts"),
        hosts=Unique(probes, of="resp_h", where=failed),
        ports=Unique(probes, of="resp_p", where=failed),
        answers=Unique(probes, where=used, when=begun),
        recovered=Unique(probes, where=recovered),
        confirmed=Unique(probes, where=confirmed, when=begun),
        heard=Unique(probes, where=failed_and_heard),
        midstream=Unique(probes, where=midstream),
        met_once=Unique(probes, of="resp_h", where=loose),
        connects=Average(probes, of=full_connect, where=failed),
        udp=Average(probes, of=is_udp, where=failed),
        checked=Unique(probes, where=checked),
        newest=Max(probes, of="first_try", where=checked),
    )

    @scan.crosses(pairs=pairs, hosts=hosts, ports=ports)
    def scanned(self, key, seen):
        verdict = weigh(seen, seen.pairs.count - seen.recovered.count - seen.met_once.count)
        is_midstream = 2 * seen.midstream.count > seen.pairs.count
        if verdict == "accused" and (is_midstream or (is_check(seen) and is_known(seen))):
            verdict = "low"
        if verdict == "silent":
            return None
        return Alert(
            f"{key.orig_h} tried {seen.ports.count} ports on {seen.hosts.count} hosts in {seen.span}",
            kind="random",
            severity="low" if verdict == "low" else None,
            sample=[f"{host}:{port}" if host.version == 4 else f"[{host}]:{port}" for host, port in seen.pairs.sample],
            same_as=key,
            covers=("address_scan", "port_scan"),
        )
