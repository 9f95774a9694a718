"""Tables fit the terminal from 60 columns up, lose nothing by it, and are whole where there is no terminal."""

import re

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from sensor.outputs.rows import AlertRows
from sensor.words import in_order
from tests.replaying import ETHER, on_terminal, replay, sensor, write

SIX, OTHER = "2001:db8:1111:2222:3333:4444:5555:6666", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff"
DAY_S = 86_400


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A scan over IPv6 with addresses of full length, and one over IPv4 a day later."""
    packets = []
    for at in range(40):
        packets.append((at / 10, ETHER / IPv6(src=SIX, dst=OTHER) / TCP(sport=40000, dport=1000 + at, flags="S")))
    for at in range(40):
        layers = IP(src="192.0.2.1", dst="198.51.100.2") / TCP(sport=40000, dport=1000 + at, flags="S")
        packets.append((DAY_S + at / 10, ETHER / layers))
    packets.append((DAY_S + 600, ETHER / IP(src="192.0.2.1", dst="198.51.100.2") / TCP(dport=1, flags="R")))
    return write(tmp_path_factory.mktemp("narrow") / "scans.pcap", packets)


def words(text):
    return text.split()


@pytest.mark.parametrize("width", [60, 80, 120, 150])
def test_alerts_fit_the_terminal_in_columns_and_every_word_of_them_is_there(width, scans):
    lines = on_terminal(width, "replay", scans)
    assert max(map(len, lines)) <= width
    table = lines[: lines.index("")]
    header = table[0]
    assert [name for name in ("SEVERITY", "ALERT", "FIRST SEEN") if name not in header] == []
    at, end = header.index("ALERT"), header.index("FIRST SEEN")
    sentences = words(" ".join(line[at:end] for line in table[1:]))
    alerts = replay(scans).alerts
    assert [word for alert in alerts for word in words(alert["message"]) if word not in sentences] == []
    seen = [line[end:].strip() for line in table[1:] if line.startswith("MEDIUM")]
    assert len(seen) == len(alerts) == 2
    for alert, shown in zip(alerts, seen, strict=True):
        assert alert["first_seen"][11:19] in shown
    assert all(line[at - 1] == " " for line in table[1:] if len(line) >= at)


def test_a_narrow_table_names_the_date_when_it_changes(scans):
    dates = [line.strip() for line in on_terminal(99, "replay", scans) if re.fullmatch(r" +\d{4}-\d\d-\d\d", line)]
    assert dates == ["2023-11-14", "2023-11-15"]


def test_where_there_is_no_terminal_an_alert_is_one_line_with_everything_in_it(scans):
    lines = sensor("replay", scans).stdout.splitlines()
    alerts = replay(scans).alerts
    header, *rows = lines[: lines.index("")]
    assert len(rows) == len(alerts) == 2
    for row, alert in zip(rows, alerts, strict=True):
        for part in ("MEDIUM", alert["src"], alert["message"], alert["first_seen"][:10], "T1046"):
            assert part in row
        assert row.index(alert["message"]) == header.index("ALERT")
        assert row.index(alert["first_seen"][:10], len(alert["message"])) == header.index("FIRST SEEN")


def test_the_table_of_interfaces_fits_too():
    lines = on_terminal(60, "interfaces", "--seconds", "0")
    assert lines[0].split()[0] == "interface"
    assert max(map(len, lines)) <= 60
    whole = sensor("interfaces", "--seconds", "0").stdout
    assert [name for name in ("offloads", "promiscuous", "driver") if name not in whole.splitlines()[0]] == []


@pytest.mark.parametrize("source", ["192.0.2.1", SIX, "scanner-" * 8])
@pytest.mark.parametrize("has_source", [True, False])
def test_rows_of_any_width_from_60_on_lose_nothing(source, has_source):
    message = f"{source if has_source else 'somebody'} tried 40 ports of {OTHER} in 3.9s (syn scan)"
    for cells in range(60, 250):
        header, lines = AlertRows().fitting(cells, "MEDIUM", source, message, "2023-11-14 22:13:20", "T1595.001")
        text = "".join("".join(header + lines).split())
        assert max(map(len, header + lines)) <= cells
        for part in ("22:13:20", "2023-11-14", source[:39], source[-8:], OTHER, "3.9s"):
            assert part in text or part in " ".join(header + lines)


def test_names_are_sorted_as_a_person_does_it():
    assert sorted(["w10", "w2", "b", "w", "10", "9"], key=in_order) == ["9", "10", "b", "w", "w2", "w10"]
