"""Address scan: one originator looks for one service on many hosts that refuse or do not answer (ATT&CK T1046).

Counts the distinct hosts on which one port was tried in vain within an epoch, and weighs them against those on which
the same originator uses that port. A set of hosts that is checked steadily is told of only where most are dead, low.
Misses scans slower than an epoch, those whose targets are all used, ICMP sweeps, and UDP from a service's port to fewer
than `doubtful_hosts`.
"""

from sensor.detection import Alert, Average, Detection, Max, Option, Stream, SumStat, Unique
from sensor_plugins._probes import (
    ENDS,
    USED,
    Probe,
    acknowledged,
    answering,
    begun,
    checked,
    checked_alive,
    contact,
    doubtful,
    failed,
    failed_and_heard,
    full_connect,
    greeted,
    insistent,
    is_syn,
    is_udp,
    midstream,
    probe,
    recovered,
    resumed,
    sender,
    streams,
    target,
    target_p,
    used,
)
from sensor_plugins._weighing import is_alive, is_blind, is_check, is_known, is_late, kind_of, proto_of, weigh

KINDS = [each.name.lower() for each in Probe]


def tried(batch):
    """Failed rows, and streams, which count where there are as many as make a scan."""
    return failed(batch) | streams(batch)


class AddressScan(Detection):
    attack = "T1046"

    hosts = Option(25, min=2, help="distinct hosts probed on one port that make a scan")
    doubtful_hosts = Option(100, min=2, help="the same, where the packets may be a server's to its clients")
    epoch = Option("5m", help="how long a scanner may take to reach them")

    probes = Stream(*ENDS, USED, key=("orig_h", "resp_p"), value="resp_h", where=contact)
    scan = SumStat(
        epoch=epoch,
        targets=Unique(probes, where=tried, keep=10, when="ts"),
        answers=Unique(probes, where=used, when=begun),
        recovered=Unique(probes, where=recovered),
        resumed=Unique(probes, where=resumed),
        greeted=Unique(probes, where=greeted),
        sockets=Unique(probes, of="orig_p", where=tried),
        confirmed=Unique(probes, where=acknowledged, when=begun),
        streams=Unique(probes, where=streams),
        insistent=Unique(probes, where=insistent),
        checked=Unique(probes, where=checked),
        alive=Unique(probes, where=checked_alive),
        answering=Unique(probes, where=answering),
        heard=Unique(probes, where=failed_and_heard),
        midstream=Unique(probes, where=midstream),
        newest=Max(probes, of="first_try", where=checked),
        connects=Average(probes, of=full_connect, where=tried),
        syns=Average(probes, of=is_syn, where=tried),
        udp=Average(probes, of=is_udp, where=tried),
        oddest=Max(probes, of=probe, where=tried),
    )

    replies = Stream("connection_state_remove", key=(sender, target_p), value=target, where=doubtful)
    midstream = SumStat(epoch=epoch, targets=Unique(replies, keep=10), udp=Average(replies, of=is_udp))

    @scan.crosses(targets=hosts)
    def scanned(self, key, seen):
        is_streaming = seen.streams.count >= seen.threshold
        count = seen.targets.count - seen.recovered.count - (0 if is_streaming else seen.streams.count)
        if is_blind(seen):
            count -= seen.resumed.count
        verdict = weigh(seen, count, seen.greeted.count)
        is_by_socket = seen.udp.average == 1 and seen.sockets.count >= seen.targets.count and not seen.answers.count
        is_answered = seen.connects.average >= 0.5 and 5 * seen.answering.count >= 4 * count
        if verdict == "accused" and (is_streaming or is_by_socket or is_answered or is_late(seen)):
            verdict = "low"
        is_insistent = seen.targets.count - seen.insistent.count < seen.threshold and not seen.answers.count
        if is_insistent:  # nothing comes back, and it goes on: as of a resolver of which one direction is seen
            verdict = "silent" if seen.sockets.count > 2 * seen.targets.count else "low"
        kind = kind_of(seen, KINDS)
        text = f"{key.orig_h} tried port {key.resp_p} on {count} hosts in {seen.span} ({kind} scan)"
        if verdict != "silent" and is_check(seen):
            if is_alive(seen):
                verdict = "silent"
            elif is_known(seen):
                verdict = "low"
                text = f"{key.orig_h} checks port {key.resp_p} on {count} hosts steadily, most of them dead"
        elif verdict == "low" and seen.answers.count:
            text += f", and used it on {seen.answers.count}"
        if verdict == "silent":
            return None
        return Alert(
            text,
            kind=kind,
            severity="low" if verdict == "low" else None,
            proto=proto_of(kind),
            sample=seen.targets.sample,
            same_as=key,
        )

    @midstream.crosses(targets=doubtful_hosts)
    def seen_midstream(self, key, seen):
        kind = "udp" if seen.udp.average > 0.5 else "ack"
        return Alert(
            f"{key.sender} sent packets of no known connection to port {key.target_p} of {seen.targets.count} hosts",
            kind=kind,
            severity="low",
            src=key.sender,
            port=key.target_p,
            proto=proto_of(kind),
            sample=seen.targets.sample,
            same_as=key,
        )
