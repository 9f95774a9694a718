"""The lab: hosts reach each other and nothing else, captures hold what tools sent, and nothing is left behind."""

import os
import socket
from pathlib import Path

import dpkt
import pytest

from tests.lab.laboratory import lab, need, pyroute2, why_no_lab

# pyroute2 forks to make a namespace; from Python 3.12 on, that warns where an earlier test has left threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


@pytest.fixture(scope="module", autouse=True)
def possible():
    if reason := why_no_lab():
        pytest.skip(reason)


def namespaces():
    return {path.name for path in Path("/run/netns").glob(f"lab-{os.getpid()}-*")}


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_hosts_on_one_switch_reach_each_other():
    need("ping")
    with lab.Lab() as net:
        one = net.host("one", "192.0.2.1/24", "2001:db8::1/64")
        net.host("two", "192.0.2.2/24", "2001:db8::2/64")
        for address in ("192.0.2.2", "2001:db8::2"):
            assert one.run(["ping", "-c", "1", "-W", "5", address]).returncode == 0


def test_a_host_can_answer_for_a_whole_prefix():
    need("ping")
    with lab.Lab() as net:
        one = net.host("one", "192.0.2.1/24")
        many = net.host("many", "192.0.2.2/24")
        many.answer_for("198.51.100.0/24")
        one.route("198.51.100.0/24")
        assert one.run(["ping", "-c", "1", "-W", "5", "198.51.100.77"]).returncode == 0


def test_an_address_never_reached_does_not_answer():
    need("ping")
    with lab.Lab() as net:
        one = net.host("one", "192.0.2.1/24")
        net.host("two", "192.0.2.2/24")
        one.never_reach(["192.0.2.2"])
        assert one.run(["ping", "-c", "1", "-W", "1", "192.0.2.2"], check=False).returncode == 1


def test_no_route_leads_out():
    with lab.Lab() as net:
        host = net.host("host", "192.0.2.1/24", "2001:db8::1/64")
        with host.inside(), pyroute2.IPRoute() as route:
            assert not route.get_default_routes()
            links = {link.get("ifname") for link in route.get_links()}
        assert {"lo", "eth0"} <= links
        with host.inside(), socket.socket(type=socket.SOCK_DGRAM) as out, pytest.raises(OSError, match="unreachable"):
            out.connect(("198.18.0.1", 9))


@pytest.mark.parametrize("address", ["10.0.0.1/8", "0.0.0.0/0", "192.0.2.1/16", "fe80::1/64"])
def test_an_address_that_is_not_for_documentation_is_refused(address):
    with lab.Lab() as net, pytest.raises(ValueError, match="documentation"):
        net.host("host", address)


def test_all_is_torn_down_after_an_exception():
    with pytest.raises(KeyError), lab.Lab() as net:
        host = net.host("host", "192.0.2.1/24")
        process = host.start(["sleep", "1000"])
        scratch = net.scratch
        assert len(namespaces()) == 2 and is_alive(process.pid)
        raise KeyError
    assert not namespaces()
    assert not is_alive(process.pid)
    assert not scratch.exists()


def test_a_process_that_leaves_its_group_ends_with_the_lab():
    need("setsid")
    with lab.Lab() as net:
        host = net.host("host", "192.0.2.1/24")
        pid_file = net.scratch / "pid"
        host.run(["sh", "-c", f"setsid sleep 1000 >/dev/null 2>&1 & echo $! > {pid_file}"])
        pid = int(pid_file.read_text())
        assert is_alive(pid)
    assert not is_alive(pid)


def test_a_capture_of_a_syn_scan_holds_every_probe(tmp_path):
    need("nmap", "tcpdump")
    savefile = tmp_path / "scan.pcap"
    with lab.Lab() as net:
        scanner = net.host("scanner", "192.0.2.10/24")
        net.host("target", "192.0.2.20/24")
        with scanner.capture(savefile):
            scanner.run(["nmap", "-n", "-Pn", "--disable-arp-ping", "--send-ip", "-sS", "-p", "1-50", "192.0.2.20"])
    probes, refusals = set(), set()
    with savefile.open("rb") as file:
        for _, frame in dpkt.pcap.Reader(file):
            packet = dpkt.ethernet.Ethernet(frame).data
            if isinstance(packet, dpkt.ip.IP):
                (probes if packet.tcp.flags == dpkt.tcp.TH_SYN else refusals).add(
                    packet.tcp.dport if packet.tcp.flags == dpkt.tcp.TH_SYN else packet.tcp.sport
                )
    assert probes == refusals == set(range(1, 51))
