"""Port scan: one originator looks for many services on one host (ATT&CK T1046).

Counts the distinct ports of one responder that were tried within an epoch and that refused, did not answer, or
answered and were left unused, and weighs them against those that the originator uses. Counts IP protocols likewise, and
finds who uses many services of a new host time and again, and briefly, to learn their versions. Misses scans slower
than an epoch, idle scans, the UDP ports of traceroute (33434 to 33534), and what may be a server's packets to clients:
ACK and UDP probes from a service's port to scattered ports above the system's.
"""

from sensor.detection import Alert, Average, Detection, Max, Option, Stream, SumStat, Unique
from sensor_plugins._probes import (
    ENDS,
    USED,
    Probe,
    begun,
    checked_unused,
    checked_unused_alive,
    confirmed,
    doubtful,
    full_connect,
    is_brief_return,
    is_syn,
    is_traced,
    is_udp,
    is_untraced,
    midstream_unused,
    neighbourhood,
    other_protocol,
    probe,
    sender,
    target,
    target_p,
    to_registered,
    unused,
    unused_and_heard,
    unused_or_used,
    used,
    used_or_streamed,
)
from sensor_plugins._weighing import is_alive, is_check, is_known, is_late, is_scan_of_clients, kind_of, proto_of, weigh

KINDS = [each.name.lower() for each in Probe]
DISTANCES = 5
"""Numbers of hops, from which on packets that die on the way look for a route, not for ports."""


class PortScan(Detection):
    attack = "T1046"

    ports = Option(15, min=2, max=65535, help="distinct ports probed on one host that make a scan")
    doubtful_ports = Option(30, min=2, max=65535, help="the same, where the packets may be a server's to its clients")
    protocols = Option(15, min=2, max=250, help="distinct IP protocols probed on one host that make a scan")
    versions = Option(10, min=2, max=65535, help="distinct ports of one new host that are used briefly and repeatedly")
    epoch = Option("5m", help="how long a scanner may take to reach them")

    probes = Stream(*ENDS, USED, key=("orig_h", "resp_h"), value="resp_p", where=unused_or_used)
    scan = SumStat(
        epoch=epoch,
        targets=Unique(probes, where=unused, keep=10, when="ts"),
        answers=Unique(probes, where=used_or_streamed, when=begun),
        used=Unique(probes, where=used, when=begun),
        confirmed=Unique(probes, where=confirmed, when=begun),
        heard=Unique(probes, where=unused_and_heard),
        distances=Unique(probes, of="orig_ttl", where=is_traced),
        untraced=Unique(probes, where=is_untraced),
        sockets=Unique(probes, of="orig_p", where=unused),
        midstream=Unique(probes, where=midstream_unused),
        alive=Unique(probes, where=checked_unused_alive),
        checked=Unique(probes, where=checked_unused),
        newest=Max(probes, of="first_try", where=checked_unused),
        connects=Average(probes, of=full_connect, where=unused),
        syns=Average(probes, of=is_syn, where=unused),
        udp=Average(probes, of=is_udp, where=unused),
        oddest=Max(probes, of=probe, where=unused),
    )

    replies = Stream("connection_state_remove", key=(sender, target), value=target_p, where=doubtful)
    midstream = SumStat(
        epoch=epoch,
        targets=Unique(replies, keep=10),
        registered=Unique(replies, where=to_registered),
        near=Unique(replies, of=neighbourhood, where=to_registered),
        neighbourhoods=Unique(replies, of=neighbourhood),
        udp=Average(replies, of=is_udp),
    )

    others = Stream("connection_state_remove", key=("orig_h", "resp_h"), value="proto", where=other_protocol)
    protocol_scan = SumStat(epoch=epoch, targets=Unique(others, keep=10))

    returns = Stream(USED, key=("orig_h", "resp_h"), value="resp_p", where=is_brief_return)
    version_scan = SumStat(epoch=epoch, targets=Unique(returns, keep=10))

    @scan.crosses(targets=ports)
    def scanned(self, key, seen):
        is_route = seen.distances.count >= DISTANCES
        count = seen.untraced.count if is_route else seen.targets.count
        verdict = weigh(seen, count, used=seen.answers if seen.udp.average > 0.5 else seen.used)
        if verdict != "silent" and is_check(seen):
            verdict = "silent" if is_alive(seen) else "low" if is_known(seen) else verdict
        if verdict == "accused" and is_late(seen):
            verdict = "low"
        if verdict == "silent":
            return None
        kind = kind_of(seen, KINDS)
        return Alert(
            f"{key.orig_h} tried {count} ports of {key.resp_h} in {seen.span} ({kind} scan)",
            kind=kind,
            severity="low" if verdict == "low" else None,
            proto=proto_of(kind),
            sample=seen.targets.sample,
            same_as=key,
        )

    @midstream.crosses(targets=doubtful_ports)
    def seen_midstream(self, key, seen):
        if not is_scan_of_clients(seen):
            return None
        kind = "udp" if seen.udp.average > 0.5 else "ack"
        return Alert(
            f"{key.sender} sent packets of no known connection to {seen.targets.count} ports of {key.target}",
            kind=kind,
            severity="low",
            src=key.sender,
            dst=key.target,
            proto=proto_of(kind),
            sample=seen.targets.sample,
            same_as=key,
        )

    @protocol_scan.crosses(targets=protocols)
    def protocols_scanned(self, key, seen):
        return Alert(
            f"{key.orig_h} tried {seen.targets.count} IP protocols of {key.resp_h} in {seen.span}",
            kind="ip_protocol",
            sample=seen.targets.sample,
            same_as=key,
        )

    @version_scan.crosses(targets=versions)
    def versions_asked(self, key, seen):
        return Alert(
            f"{key.orig_h} used {seen.targets.count} ports of {key.resp_h}, new to it, briefly and repeatedly",
            kind="version",
            severity="low",
            proto="tcp",
            sample=seen.targets.sample,
            same_as=key,
        )
