"""The catalogue of counters: each one's name, meaning, and whether a value above 0 means a loss.

Kernels that count into an array take their names from here, by group and in this order. A name ending in `_` is the
prefix of several counters: a link type follows, or the prefix that a filter would need.
"""

from dataclasses import dataclass
from typing import Literal

Loss = Literal["capture", "engine"]
"""The place of a loss: before packets are decoded, or after."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One counter."""

    name: str
    meaning: str
    """The thing it counts, for people: the rest of a sentence that begins with "How many"."""
    loss: Loss | None = None
    """The place of the loss that it counts; None: it counts no loss."""


_BYTES_READ = Metric("bytes_read", "captured bytes those packets have that were given on")

READER = (
    Metric("packets_read", "packets a capture gave on"),
    _BYTES_READ,
    Metric("bad_subsecond", "packets of a pcap file have a fraction of a second or more; it is added as it stands"),
    Metric("caplen_exceeds_wirelen", "packets have more bytes captured than were on the wire; they stay as they are"),
    Metric("timestamps_clamped", "packets of a pcapng file lie outside the years 1970 to 2116"),
    Metric("blocks_skipped", "blocks of a pcapng file hold neither packets nor what is needed to read them"),
)
FILES = (
    Metric("files", "files were opened"),
    Metric("files_skipped", "files were no captures"),
    Metric("files_damaged", "files could not be read to their end", "capture"),
)
RING = (
    Metric("kernel_packets", "packets the kernel's filter let through, lost ones included"),
    Metric("ring_drops", "packets were lost as the ring was full, or one now and then where it nearly is", "capture"),
    Metric("ring_freezes", "times the ring became full", "capture"),
    Metric("packets_delivered", "packets were found in the ring"),
    Metric("packets_filtered", "packets the filter left out once they had arrived"),
    Metric("packets_malformed", "packets have headers in the ring that lead out of their block", "capture"),
    _BYTES_READ,
)
LINK = (
    Metric("nic_packets", "packets the card counted"),
    Metric("nic_drops", "packets the card or its driver lost", "capture"),
    Metric("nic_rx_dropped", "packets the system dropped on receipt, also as nobody wanted them"),
    Metric("gaps", "times an interface was away", "capture"),
    Metric("gap_ns", "nanoseconds interfaces were away", "capture"),
    Metric("reopened", "times a ring was opened again after that"),
)
SCAPY = (Metric("queue_drops", "packets found no room in the queue of a Scapy socket", "capture"),)
FILTER = (
    Metric("packets_filter_inapplicable", "packets have a link type that the filter has no meaning for"),
    Metric("packets_filter_inapplicable_", "of those have this link type"),
    Metric("packets_filtered_tagged", "packets have a VLAN tag, where a filter that names none matched nothing"),
    Metric("packets_filtered_behind_", "packets would match behind this prefix, where the filter matched nothing"),
)
LINKTYPES = (Metric("packets_unknown_linktype_", "packets have this link type, which is not decoded"),)
CLOCK = (
    Metric("clock_regressions", "packets are stamped earlier than one before them"),
    Metric("clock_outliers", "packets are stamped far from those between which they came"),
    Metric("clock_jumps", "times the packet clock started again at another time"),
)
FRAGMENTS = (
    Metric("fragments", "packets are fragments"),
    Metric("fragments_refused", "fragments are empty, too long, or of a length that only a last one may have"),
    Metric("fragments_cut", "fragments lack bytes for the snap length, so that they can only be counted"),
    Metric("fragments_swallowed", "fragments belong to datagrams that were found to be ambiguous"),
    Metric("datagrams_reassembled", "datagrams became whole"),
    Metric("datagrams_timed_out", "datagrams did not become whole in time"),
    Metric("datagrams_evicted", "datagrams had to make room before they were whole", "engine"),
    Metric("datagrams_ambiguous", "datagrams have fragments that contradict each other"),
)
WAITING = (Metric("datagrams_waiting", "datagrams are not whole yet"),)
FLOWS = (
    Metric("flows", "flows began"),
    Metric("flow_packets", "packets belong to a flow"),
    Metric("arp_packets", "packets are ARP"),
    Metric("not_flow", "packets have an IP payload that shows no flow"),
    Metric("events", "events were raised that a detection wants"),
    Metric("evicted_half_open", "flows had to make room whose SYN was not answered yet"),
    Metric("evicted_one_packet", "flows of one packet had to make room"),
    Metric("evicted_idle", "idle flows had to make room"),
    Metric("evicted_established", "established connections had to make room"),
    Metric("data_connections", "TCP connections have carried data"),
    Metric("data_connections_both_ways", "of those were heard from both ends"),
    Metric("attempts_cut_short", "unanswered SYNs had to make room before their wait was over", "engine"),
    Metric("tcp_acks", "ACKs acknowledge something new, where that could show that the capture had lost it"),
    Metric("tcp_acks_of_unseen", "of those acknowledge what never passed by", "capture"),
    Metric("tcp_bytes_unseen", "bytes of TCP were acknowledged and never passed by", "capture"),
    Metric("tcp_acks_wild", "ACKs acknowledge what cannot have been sent"),
    Metric("tcp_holes_forgotten", "gaps in sequence numbers were forgotten for want of room"),
    Metric("flows_under_two_tags", "flows came under two tags, where tags do not tell flows apart"),
    Metric("icmp_without_quote", "ICMP errors do not show what they are about"),
    Metric("contacts_evicted", "contacts were forgotten within a day for want of room"),
    Metric("probes", "entries of the flow index were looked at"),
    Metric("lookups", "times the flow index was asked"),
)
PREFIXES = (
    Metric("prefixes_evicted", "beginnings of streams had to make room unread", "engine"),
    Metric("prefix_overlaps_differing", "segments repeat bytes of the beginning of a stream, and have others there"),
)
OPEN_FLOWS = (Metric("flows_open", "flows are open"),)
SUMSTATS = (
    Metric("sumstats_passed_over", "observations are of keys that an alert stands for"),
    Metric("sumstats_keys_evicted", "keys had to make room: the lightest, so that heavy ones were kept", "engine"),
    Metric("sumstats_observations_evicted", "observations went with those keys", "engine"),
    Metric("sumstats_elements_refused", "distinct elements found no room: their results are saturated", "engine"),
    Metric("sumstats_late", "observations came after their epoch, and count in the next one", "engine"),
    Metric("sumstats_quiet_refused", "keys found no room to be remembered as told"),
    Metric("sumstats_threshold_faults", "times a threshold function raised: such keys did not cross"),
)
REPORTER = (
    Metric("epochs_unsent", "epochs of a worker found no room in its spool", "engine"),
    Metric("messages_refused", "times a spool had no room for a message", "engine"),
    Metric("watches_let_go", "keys are not watched for growth any more, for want of room"),
)
SPOOL = (
    Metric("spool_refused", "messages the spool had no room for"),
    Metric("spool_disk_errors", "times the disk refused the spool", "engine"),
    Metric("messages_unsent", "messages had no connection or no room; those that must arrive come again", "engine"),
)
MANAGER = (
    Metric("epochs_closed", "epochs are over"),
    Metric("epochs_incomplete", "of those lack somebody's results"),
    Metric("groups_missing", "messages of results lack one before them, as a manager's journal is gone"),
    Metric("messages_stale", "messages are of an earlier life of their worker"),
    Metric("messages_repeated", "messages came twice"),
    Metric("messages_early", "messages came before one that must go first, and come again"),
    Metric("incidents_forgotten", "incidents were forgotten for want of room, so that repeats are told"),
    Metric("queries_refused", "queries found no room"),
    Metric("queries_timed_out", "queries were not answered by all in time"),
    Metric("answers_ignored", "answers to queries were late, or came twice"),
)
COLLECTOR = (
    Metric("manager_epochs_late", "results came after their epoch was over"),
    Metric("manager_epochs_repeated", "results came twice"),
    Metric("manager_quiet_refused", "keys found no room to be remembered as told"),
    Metric("manager_views_given_up", "keys were not asked about early for want of room"),
    Metric("manager_views_timed_out", "early views were not answered by all in time"),
    Metric("manager_views_skewed", "early views are of different epochs"),
)
NODE = (
    Metric("hints_unsaid", "hints of workers were not said, as there were too many"),
    Metric("lines_unsaid", "lines about workers were not said, as there were too many"),
    Metric("manager_pauses", "times a manager took nothing, as its disk did not"),
)
STORE = (
    Metric("alerts_waiting", "alerts wait for a disk that takes them"),
    Metric("alerts_lost", "alerts the disk did not take, and memory had no room for", "engine"),
    Metric("alert_file_failures", "times the disk refused alerts"),
    Metric("lines_lost", "lines could not be written to standard output", "engine"),
)

CATALOGUE = {
    each.name: each
    for group in (
        *(READER, FILES, RING, LINK, SCAPY, FILTER, LINKTYPES, CLOCK, FRAGMENTS, WAITING, FLOWS, OPEN_FLOWS),
        *(PREFIXES, SUMSTATS, REPORTER, SPOOL, MANAGER, COLLECTOR, NODE, STORE),
    )
    for each in group
}
"""All counters by name."""


def names(group: tuple[Metric, ...]) -> tuple[str, ...]:
    """Return the names of a group, in order."""
    return tuple(each.name for each in group)


def metric(name: str) -> Metric | None:
    """Return the counter of a name, or the one whose name is its prefix; None if there is none."""
    begun = (each for each in CATALOGUE.values() if each.name.endswith("_") and name.startswith(each.name))
    return CATALOGUE.get(name) or next(begun, None)
