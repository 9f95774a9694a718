"""What a person reads: a row an alert, a summary that accounts for every packet, nothing that drives a terminal."""

import io

import msgspec
import pytest

from sensor.alerts import AlertRecord, AlertUpdate
from sensor.outputs.summary import Summary
from sensor.outputs.terminal import Terminal

ALERT = AlertRecord(
    id="1",
    ts="2023-11-14T22:13:21.000000Z",
    first_seen="2023-11-14T22:13:20.123456Z",
    last_seen="2023-11-14T22:13:21.000000Z",
    detection="port_scan",
    kind="syn",
    severity="medium",
    message="10.0.0.1 tried 15 ports of 10.0.0.2 in 0.9s (syn scan)",
    src="10.0.0.1",
    attack="T1046",
    workers=["worker-1"],
    version="1",
)

UPDATE = AlertUpdate(
    id="1",
    ts="2023-11-14T22:14:00.000000Z",
    state="open",
    severity="medium",
    kind="syn",
    message="10.0.0.1 tried 40 ports of 10.0.0.2 in 30s (syn scan)",
    src="10.0.0.1",
    first_seen="2023-11-14T22:13:20.123456Z",
    last_seen="2023-11-14T22:13:50.000000Z",
    value=40,
    complete=True,
    missing=[],
    workers=["worker-1"],
)

SUMMARY = Summary(
    packets_read=1234,
    packets_decoded=1230,
    refused={"not_ip": 3, "truncated_ip": 1},
    weirds={"bad_udp_length": 2},
    flows=5,
    observations=6,
    alerts=1,
    alerts_suppressed=2,
    bytes=98_765,
    first_ts=None,
    last_ts=None,
    seconds=0.5,
    packets_per_second=2468.0,
    damage=[],
    detections=["port_scan"],
    detection_faults={},
    workers=["worker-1"],
    compiled=True,
    counters={},
)


def written(*told: AlertRecord | AlertUpdate, summary: Summary | None = None) -> str:
    stream = io.StringIO()
    terminal = Terminal(stream)
    for each in told:
        if isinstance(each, AlertRecord):
            terminal.alert(each)
        else:
            terminal.update(each)
    if summary:
        terminal.summary(summary)
    return stream.getvalue()


def test_a_row_has_severity_source_sentence_first_seen_and_technique():
    header, row = written(ALERT).splitlines()
    assert header.split() == ["SEVERITY", "SOURCE", "ALERT", "FIRST", "SEEN", "ATT&CK"]
    for part in ("MEDIUM", "10.0.0.1", "tried 15 ports", "2023-11-14 22:13:20", "T1046"):
        assert part in row


def test_the_header_is_written_once():
    assert written(ALERT, ALERT).count("SEVERITY") == 1


def test_control_characters_of_a_message_are_escaped():
    text = written(msgspec.structs.replace(ALERT, message="\x1b[2Jgone\nfake row"))
    assert "\x1b" not in text
    assert "\\x1b[2Jgone\\nfake row" in text
    assert len(text.splitlines()) == 2


def test_an_alert_judged_without_a_member_says_whose_share_is_missing():
    assert "worker-2" in written(msgspec.structs.replace(ALERT, complete=False, missing=["worker-2"]))


@pytest.mark.parametrize(
    ("repeated", "said"),
    [
        (0, "2 parts folded in: port_scan 2"),
        (1, "1 repeat and 1 part folded in: port_scan 2"),
        (2, "2 repeats folded in: port_scan 2"),
    ],
)
def test_the_summary_says_what_was_folded_in(repeated, said):
    summary = msgspec.structs.replace(SUMMARY, alerts_repeated=repeated, folded_in={"port_scan": 2})
    assert f"1 alert ({said})" in written(summary=summary)


def test_the_summary_accounts_for_every_packet_by_reason():
    text = written(ALERT, summary=SUMMARY)
    assert "1,234 packets read (98.8 KB): 1,230 decoded, 4 refused: not_ip 3, truncated_ip 1" in text
    assert "bad_udp_length 2" in text
    assert "5 flows, 6 observations, 1 alert (2 parts folded in) from 1 detection" in text
    assert "2,468 packets/s" in text


def test_what_there_was_no_room_for_is_said_only_if_there_was_such():
    assert "no room" not in written(summary=SUMMARY)
    counters = {"sumstats_keys_evicted": 1234, "sumstats_elements_refused": 5, "sumstats_passed_over": 7}
    text = written(summary=msgspec.structs.replace(SUMMARY, counters=counters))
    assert "SumStats had no room for 1,234 keys: the lightest were given up" in text
    assert "no room for 5 elements" in text
    assert "6 observations (7 of what an alert stands for), 1 alert" in text


def test_a_run_without_alerts_says_so():
    assert written(summary=SUMMARY).startswith("No alerts.")


def test_what_an_alert_came_to_is_told_again_when_its_epoch_is_over_if_it_is_news():
    *_, row = written(ALERT, UPDATE).splitlines()
    for part in ("MEDIUM", "10.0.0.1", "update: 10.0.0.1 tried 40 ports", "2023-11-14 22:13:20"):
        assert part in row
    assert written(ALERT, msgspec.structs.replace(UPDATE, message=ALERT.message)) == written(ALERT)
    assert written(ALERT, msgspec.structs.replace(UPDATE, severity="low", folded_into="2")) == written(ALERT)


def grown(value):
    return msgspec.structs.replace(UPDATE, value=value, message=f"10.0.0.1 tried {value} ports")


def test_after_that_an_alert_is_told_again_each_time_that_it_has_grown_tenfold():
    rows = written(ALERT, *map(grown, [40, 41, 399, 400, 3999, 4000, 4001])).splitlines()[2:]
    assert [row.split("update: ")[1].split()[2] for row in rows] == ["40", "400", "4000"]


def test_another_severity_is_a_row_with_the_sentence_as_it_stands_now():
    *_, row = written(ALERT, msgspec.structs.replace(UPDATE, severity="low")).splitlines()
    for part in ("LOW", "10.0.0.1", "tried 40 ports", "2023-11-14 22:13:20"):
        assert part in row


def test_an_alert_that_is_withdrawn_is_a_row_that_says_so_and_the_summary_counts_it():
    withdrawn = msgspec.structs.replace(UPDATE, state="withdrawn", message="withdrawn: outweighed (it said\x1b[2J)")
    text = written(ALERT, withdrawn, summary=msgspec.structs.replace(SUMMARY, alerts=3, alerts_withdrawn=1))
    assert len([line for line in text.splitlines() if "withdrawn: outweighed (it said\\x1b[2J)" in line]) == 1
    assert "3 alerts (1 of them withdrawn, 2 parts folded in) from 1 detection" in text
