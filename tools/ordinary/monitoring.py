"""What watches hosts, some of which are down: metrics, pings, checks, clocks, and what they send one way."""

import services
from lab import Host, Lab
from scenario import Recording, graded, ordinary

from ordinary.network import CLIENT, far, firewall, for_each, inside, near, outside

PROMETHEUS = """
global: {{scrape_interval: {every}s, scrape_timeout: {every}s}}
scrape_configs:
- job_name: nodes
  static_configs: [{{targets: [{targets}]}}]
"""
EXPORTER = "prometheus-node-exporter --collector.disable-defaults --collector.loadavg --web.disable-exporter-metrics"


def prometheus(lab: Lab, host: Host, targets: list[str], every: int) -> None:
    """Prometheus, with no target but these."""
    config = lab.scratch / "prometheus.yml"
    config.write_text(PROMETHEUS.format(every=every, targets=", ".join(f'"{each}:9100"' for each in targets)))
    argv = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={lab.scratch}/tsdb"]
    host.start([*argv, "--web.listen-address=127.0.0.1:9090"]).wait_for_port(9090)


@ordinary(
    "prometheus (70 targets, every 15 s); prometheus-node-exporter",
    "The same targets are asked for ever, and those that are down are asked too: that is how one knows.",
    snaplen=80,
)
def prometheus_targets_down(lab: Lab, recording: Recording) -> None:
    """Prometheus scrapes 70 hosts for a minute: 20 never answer, six refuse, two are unreachable."""
    dead, refusing, unreachable = far(1, 20), far(21, 26), far(27, 28)
    world, host = outside(lab, dead, refusing, unreachable), inside(lab)
    world.start([*EXPORTER.split(), "--web.listen-address=:9100"]).wait_for_port(9100)
    with recording.at(host, bpf="port 9100 or icmp"):
        prometheus(lab, host, [*near(1, 42), *dead, *refusing, *unreachable], every=15)
        host.run(["sleep", "55"], timeout=90)


@ordinary(
    "prometheus (44 office PCs, every 10 s), seen where the PCs are",
    "At night the PCs are off: the router asks for them by ARP, in vain, and no one else is to be heard.",
    snaplen=80,
)
def prometheus_pcs_off(lab: Lab, recording: Recording) -> None:
    """Prometheus scrapes 44 PCs of which 34 are off: the router's ARP requests on their segment."""
    router = lab.host("router", "192.0.2.1/24")
    router.join("pcs", "198.51.100.254/24")
    router.configure({"ipv4/ip_forward": "1"})
    host = lab.host("prometheus", f"{CLIENT}/24")
    host.route("198.51.100.0/24", via="192.0.2.1")
    pcs = lab.host("pcs", *(f"198.51.100.{n}/24" for n in range(1, 11)), switch="pcs")
    pcs.route("192.0.2.0/24", via="198.51.100.254")
    pcs.start([*EXPORTER.split(), "--web.listen-address=:9100"]).wait_for_port(9100)
    with recording.at(router, interface="eth1"):
        prometheus(lab, host, near(1, 44), every=10)
        host.run(["sleep", "45"], timeout=90)


@ordinary(
    "prometheus (70 targets, every 15 s), seen where the targets are",
    "Seen from the targets, a watcher comes to each of them time and again; those that are off are asked for by ARP.",
    snaplen=80,
)
def prometheus_at_targets(lab: Lab, recording: Recording) -> None:
    """Prometheus scrapes 70 hosts of one network, of which 28 are off and eight refuse: what their router sees."""
    router = lab.host("router", "192.0.2.1/24")
    router.join("targets", "198.51.100.254/24")
    router.configure({"ipv4/ip_forward": "1"})
    host = lab.host("prometheus", f"{CLIENT}/24")
    host.route("198.51.100.0/24", via="192.0.2.1")
    for name, first, last in (("targets", 1, 34), ("refusing", 35, 42)):
        targets = lab.host(name, *(f"{address}/24" for address in near(first, last)), switch="targets")
        targets.route("192.0.2.0/24", via="198.51.100.254")
        if name == "targets":
            targets.start([*EXPORTER.split(), "--web.listen-address=:9100"]).wait_for_port(9100)
    with recording.at(router, interface="eth1"):
        prometheus(lab, host, near(1, 70), every=15)
        host.run(["sleep", "50"], timeout=90)


HAPROXY = """
defaults
  mode tcp
  timeout connect 3s
  timeout client 10s
  timeout server 10s
frontend in
  bind 127.0.0.1:8080
  default_backend all
backend all
{lines}
"""


@ordinary(
    "haproxy (46 servers, check inter 10s)",
    "A load balancer's check opens a connection and drops it at once: a half-open scan, but of its own servers.",
    snaplen=80,
)
def half_open_checks(lab: Lab, recording: Recording) -> None:
    """haproxy checks 46 servers every ten seconds by a SYN that it resets; three never answer, three refuse."""
    world, host = outside(lab, dead=far(1, 3), refusing=far(4, 6)), inside(lab, "balancer")
    services.web(lab, world, [80])
    config = lab.scratch / "haproxy.cfg"
    each = [f"  server s{n} {address}:80 check inter 10s" for n, address in enumerate([*near(1, 40), *far(1, 6)])]
    config.write_text(HAPROXY.format(lines="\n".join(each)))
    with recording.at(host):
        host.start(["haproxy", "-db", "-f", str(config)])
        host.run(["sleep", "35"])


@ordinary(
    "check_ssh HOST; check_http -I HOST (73 hosts, twice)",
    "Nagios' plugins connect, look, and leave; what is down is told to those who look after it.",
    snaplen=80,
)
def service_checks(lab: Lab, recording: Recording) -> None:
    """73 hosts are checked for SSH and HTTP, twice: 24 never answer, five refuse both."""
    world, host = outside(lab, dead=far(1, 24), refusing=far(25, 29)), inside(lab)
    services.web(lab, world, [80])
    services.ssh(lab, world)
    plugins = "/usr/lib/nagios/plugins"
    check = f"{plugins}/check_ssh -t 3 $1 >&2; {plugins}/check_http -I $1 -t 3 >&2"
    with recording.at(host):
        for _ in range(2):
            host.run(for_each([*near(1, 44), *far(1, 29)], check, at_once=8), timeout=120)


@ordinary(
    "fping -C 6 -q (50 hosts)",
    "Latency is watched by pings of the same hosts all day long; the dead among them are part of the picture.",
)
def ping_monitoring(lab: Lab, recording: Recording) -> None:
    """50 hosts are pinged six times each; 14 never answer."""
    outside(lab, dead=far(1, 14))
    host = inside(lab)
    with recording.at(host):
        host.run(["fping", "-q", "-C", "6", "-p", "2000", *near(1, 36), *far(1, 14)], check=False)


SNMP_POLLER = """
import socket, sys, time
question = bytes.fromhex("302602010104067075626c6963a019020101020100020100300e300c06082b060102010103000500")
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(9):
    for host in sys.argv[1:]:
        sock.sendto(question, (host, 161))
        time.sleep(0.01)
    time.sleep(44)
"""
"""Asks each host for sysUpTime.0 from one socket, nine times; Debian's pollers that use one socket ask once and end."""


@ordinary(
    "a poller of 10 lines of Python (66 hosts, one socket, every 45 s); snmpd",
    "An SNMP poller asks all switches from one socket, for ever; a switch that is off is asked as well.",
    snaplen=112,
)
def snmp_poller(lab: Lab, recording: Recording) -> None:
    """66 hosts are asked by SNMP from one socket, for more than the five minutes of a window; 26 never answer."""
    world, host = outside(lab, dead=far(1, 26)), inside(lab)
    config = lab.scratch / "snmpd.conf"
    config.write_text("agentaddress udp:161\nrocommunity public default\n")
    world.start(["snmpd", "-f", "-Lo", "-C", "-c", str(config)]).wait_for_port(161, "udp")
    with recording.at(host):
        host.run(["python3", "-c", SNMP_POLLER, *near(1, 40), *far(1, 26)], timeout=500)


@ordinary(
    "braa public@HOST:.1.3.6.1.2.1.1.3.0 ... (78 hosts)",
    "An inventory asks every switch once a day, some of which are no longer there.",
    snaplen=112,
)
def snmp_inventory(lab: Lab, recording: Recording) -> None:
    """78 hosts are asked by SNMP from one socket; 28 never answer."""
    world, host = outside(lab, dead=far(1, 28)), inside(lab)
    config = lab.scratch / "snmpd.conf"
    config.write_text("agentaddress udp:161\nrocommunity public default\n")
    world.start(["snmpd", "-f", "-Lo", "-C", "-c", str(config)]).wait_for_port(161, "udp")
    targets = [f"public@{address}:.1.3.6.1.2.1.1.3.0" for address in [*near(1, 50), *far(1, 28)]]
    with recording.at(host):
        host.run(["braa", "-t", "6", "-r", "3", *targets], check=False)


@ordinary(
    "chronyd -x (40 servers)",
    "The servers of a pool come and go; a clock asks those that it was given, about once a minute.",
)
def ntp_pool(lab: Lab, recording: Recording) -> None:
    """A clock asks 40 servers; 13 never answer, three refuse."""
    world, host = outside(lab, dead=far(1, 13), refusing=far(14, 16)), inside(lab)
    for each, lines in ((world, ["local stratum 3", "allow", "port 123"]), (host, [])):
        config = lab.scratch / f"{each.name}-chrony.conf"
        if not lines:
            lines = [f"server {address} iburst minpoll 4 maxpoll 4" for address in [*near(1, 24), *far(1, 16)]]
        own = ["cmdport 0", f"pidfile {lab.scratch}/{each.name}.pid", "bindcmdaddress /", "user root"]
        config.write_text("\n".join([*lines, *own]) + "\n")
    world.start(["chronyd", "-x", "-d", "-f", str(lab.scratch / "world-chrony.conf")]).wait_for_port(123, "udp")
    with recording.at(host):
        host.start(["chronyd", "-x", "-d", "-f", str(lab.scratch / "client-chrony.conf")])
        host.run(["sleep", "50"])


@ordinary(
    "rsyslogd (omfwd by UDP to 30 collectors); logger",
    "Syslog by UDP is never answered, and a stream is no probe; but to as many hosts as make a scan, low is right.",
    graded("low", "address_scan", "udp", CLIENT, port=514),
)
def syslog_relay(lab: Lab, recording: Recording) -> None:
    """A relay sends 25 messages to each of 30 collectors by UDP; four of them are off."""
    world, host = outside(lab, refusing=far(1, 4)), inside(lab)
    firewall(world, "udp dport 514 drop")
    config = lab.scratch / "rsyslog.conf"
    lines = ['module(load="imtcp")', 'input(type="imtcp" port="10514" address="127.0.0.1")']
    lines += [f'action(type="omfwd" target="{a}" port="514" protocol="udp")' for a in [*near(1, 26), *far(1, 4)]]
    config.write_text("\n".join(lines) + "\n")
    run = ["rsyslogd", "-n", "-f", str(config), "-i", str(lab.scratch / "rsyslog.pid")]
    host.start(run).wait_for_port(10514)
    send = 'for n in $(seq 25); do logger -T -n 127.0.0.1 -P 10514 "line $n"; sleep 1; done'
    with recording.at(host):
        host.run(["sh", "-ec", send])


@ordinary(
    "tracepath -n -m 24 198.51.100.6; mtr --udp --report -c 2 198.51.100.6; mtr --tcp --report -c 2 198.51.100.6",
    "A route is found by packets to ever new ports of a host that never answers: they are to die on the way.",
    snaplen=128,
)
def route_tracing(lab: Lab, recording: Recording) -> None:
    """tracepath and mtr towards a host that does not answer, behind one router."""
    client, router = lab.host("client", f"{CLIENT}/24"), lab.host("router", "192.0.2.1/24")
    router.join("far", "198.51.100.1/24")
    router.configure({"ipv4/ip_forward": "1", "ipv4/icmp_ratelimit": "0"})
    router.never_reach(["198.51.100.6"], interface="eth1")
    client.route("198.51.100.0/24", via="192.0.2.1")
    with recording.at(client):
        client.run(["tracepath", "-n", "-m", "24", "198.51.100.6"], check=False, timeout=120)
        client.run(["mtr", "-n", "--udp", "--report", "-c", "2", "198.51.100.6"], check=False)
        client.run(["mtr", "-n", "--tcp", "--report", "-c", "2", "198.51.100.6"], check=False)


@ordinary(
    "check_http -I HOST (48 hosts, three times; 40 are behind a line that is down)",
    "Where the line is down all checks of one side fail: that is a fault to look at, and looks like a search.",
    graded("low", "address_scan", "connect", CLIENT, port=80),
    snaplen=80,
)
def checks_line_down(lab: Lab, recording: Recording) -> None:
    """40 hosts behind a line that is down, and eight others, are checked by HTTP three times."""
    world, host = outside(lab, dead=far(1, 40)), inside(lab)
    services.web(lab, world, [80])
    check = "/usr/lib/nagios/plugins/check_http -I $1 -t 3 >&2"
    with recording.at(host):
        for _ in range(3):
            host.run(for_each([*near(1, 8), *far(1, 40)], check, at_once=16), timeout=120)
