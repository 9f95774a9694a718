"""Scenarios of everyday traffic that must raise nothing: the nearest things to a scan that are none."""

from pathlib import Path

import services
from lab import Host, Lab
from scenario import Recording, scenario

CLIENT, RESOLVER = "192.0.2.20", "192.0.2.53"
SERVERS, MORE_SERVERS = "198.51.100.0/24", "203.0.113.0/24"
PICTURES = 30
CHROMIUM = (
    "chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-extensions --disable-default-apps "
    "--disable-features=MediaRouter,OptimizationHints,Translate,HttpsUpgrades --ignore-certificate-errors "
    "--timeout=12000 --dump-dom"
)
SSH_SERVER = "198.51.100.22"
ZONES, DEAD = 60, 28


def servers(lab: Lab, client: Host, prefix: str = SERVERS) -> Host:
    """A machine that is every address of the prefix, next to the client."""
    number = prefix.split(".")[0]
    host = lab.host(f"servers-{number}", prefix.replace(".0/", ".254/"))
    host.route("192.0.2.0/24")
    host.answer_for(prefix)
    client.route(prefix)
    return host


@scenario("chromium --headless http://www.example/", snaplen=96)
def busy_browser(lab: Lab, recording: Recording) -> None:
    """A page with pictures from 30 servers, over HTTP and HTTPS; three trackers refuse, three more do not answer."""
    client = lab.host("client", f"{CLIENT}/24")
    dead = [f"203.0.113.{number}" for number in (101, 102, 103)]
    names = {f"img{number:02}.example": f"198.51.100.{100 + number}" for number in range(1, PICTURES + 1)}
    trackers = {f"ad{number}.example": f"203.0.113.{number}" for number in (1, 2, 3, 101, 102, 103)}
    folder = services.web(lab, servers(lab, client), [80], tls=[443])
    servers(lab, client, MORE_SERVERS)
    client.never_reach(dead)
    pictures = [f"{('http', 'https')[number % 2]}://{name}/picture.png" for number, name in enumerate(names)]
    pictures += [f"http://{name}/pixel.png" for name in trackers]
    (folder / "index.html").write_text("".join(f'<img src="{picture}">\n' for picture in pictures))
    hosts = {"www.example": "198.51.100.1", **names, **trackers}
    resolver = lab.host("resolver", f"{RESOLVER}/24")
    services.dns(resolver, *(f"--host-record={name},{address}" for name, address in hosts.items()))
    browse(lab, recording, client)


def browse(lab: Lab, recording: Recording, client: Host) -> None:
    """Load http://www.example/ in Chromium with a profile, and a resolv.conf, of its own."""
    resolv, hosts = lab.scratch / "resolv.conf", lab.scratch / "hosts"
    resolv.write_text(f"nameserver {RESOLVER}\n")
    hosts.write_text("127.0.0.1 localhost\n")
    setup = f"mount --bind {resolv} /etc/resolv.conf; mount --bind {hosts} /etc/hosts"
    argv = [*CHROMIUM.split(), f"--user-data-dir={lab.scratch}/profile", "http://www.example/"]
    with recording.at(client):
        client.run(services.with_mounts(setup, argv), env={"PATH": "/usr/bin:/bin", "HOME": str(lab.scratch)})


@scenario("dnsmasq --all-servers --server=/zone01.example/198.51.100.1 ...; dig @192.0.2.53 ...", snaplen=160)
def resolver(lab: Lab, recording: Recording) -> None:
    """A resolver asks the name servers of 60 zones for its clients; 28 of the zones have a second one that is dead."""
    host = lab.host("resolver", f"{RESOLVER}/24")
    zones = [f"zone{number:02}.example" for number in range(1, ZONES + 1)]
    services.dns(servers(lab, host), "--local-ttl=300", "--host-record=root.example,192.0.2.1", *answers(zones))
    servers(lab, host, MORE_SERVERS)
    dead = [f"203.0.113.{number}" for number in range(1, DEAD + 1)]
    host.never_reach(dead)
    upstream = [f"--server=/{zone}/198.51.100.{number}" for number, zone in enumerate(zones, 1)]
    upstream += [f"--server=/{zone}/{address}" for zone, address in zip(zones, dead, strict=False)]
    services.dns(host, "--all-servers", "--cache-size=0", *upstream)
    client = lab.host("client", f"{CLIENT}/24")
    with recording.at(host):
        client.run(["dig", f"@{RESOLVER}", "+tries=2", "+time=2", *(f"www.{zone}" for zone in zones)])


def answers(zones: list[str]) -> list[str]:
    """dnsmasq's options for a host www in each zone."""
    return [f"--host-record=www.{zone},198.51.100.{number}" for number, zone in enumerate(zones, 1)]


@scenario(
    "twice for each of 40 hosts: fping HOST; dig @HOST status.example; nc -z HOST 22; curl http://HOST/",
    snaplen=80,
)
def monitoring_poll(lab: Lab, recording: Recording) -> None:
    """A monitoring host polls 40 hosts by ping, DNS, a bare TCP connect to SSH and HTTP, twice; all of them answer."""
    monitor = lab.host("monitor", "192.0.2.30/24")
    polled = servers(lab, monitor)
    services.web(lab, polled, [22, 80])
    services.dns(polled, "--host-record=status.example,192.0.2.1")
    targets = [f"198.51.100.{number}" for number in range(1, 41)]
    each = (
        "for host do dig +short @$host status.example; nc -z -w 5 $host 22; curl -sS -o /dev/null http://$host/; done"
    )
    with recording.at(monitor):
        for _ in range(2):
            monitor.run(["fping", "-q", "-i", "2", "-c", "1", *targets])
            monitor.run(["sh", "-ec", each, "sh", *targets])


@scenario(
    f"ssh root@{SSH_SERVER} 'uname; seq 500'; scp notes root@{SSH_SERVER}:there; scp root@{SSH_SERVER}:there back",
    snaplen=160,
)
def ssh_session(lab: Lab, recording: Recording) -> None:
    """An SSH session with a key, then a file copied each way with scp."""
    client = lab.host("client", f"{CLIENT}/24")
    options = services.ssh(lab, servers(lab, client))
    notes, there, back = (str(lab.scratch / name) for name in ("notes", "there", "back"))
    Path(notes).write_text("line\n" * 4000)
    with recording.at(client):
        client.run(["ssh", *options, f"root@{SSH_SERVER}", "uname; seq 500"])
        client.run(["scp", *options, notes, f"root@{SSH_SERVER}:{there}"])
        client.run(["scp", *options, f"root@{SSH_SERVER}:{there}", back])


@scenario(
    "dig @192.0.2.53 www.example A, AAAA, MX, TXT; dig +tcp; dig no.example; curl http://..., https://...", snaplen=160
)
def curl_and_dig(lab: Lab, recording: Recording) -> None:
    """A person at a shell: a few pages, one from a server that refuses, and a few questions to a resolver."""
    client = lab.host("client", f"{CLIENT}/24")
    services.web(lab, servers(lab, client), [80], tls=[443])
    records = ("--mx-host=www.example,mail.example,10", "--txt-record=www.example,hello")
    host = lab.host("resolver", f"{RESOLVER}/24")
    services.dns(host, "--host-record=www.example,198.51.100.80,2001:db8::80", "--local=/example/", *records)
    questions = [("www.example", kind) for kind in ("A", "AAAA", "MX", "TXT")] + [("no.example", "A")]
    with recording.at(client):
        for name, kind in questions:
            client.run(["dig", f"@{RESOLVER}", name, kind])
        client.run(["dig", f"@{RESOLVER}", "+tcp", "www.example", "A"])
        for url in ("http://198.51.100.80/", "http://198.51.100.81/1.png", "https://198.51.100.80/"):
            client.run(["curl", "-sSk", "-o", "/dev/null", url])
        client.run(["curl", "-sS", "http://198.51.100.80:8080/"], check=False)


@scenario("curl http://198.51.100.80:8080/ (41 times)")
def stubborn_client(lab: Lab, recording: Recording) -> None:
    """A client tries again and again to reach a service that is down: 41 refusals, but of one port of one host."""
    client = lab.host("client", f"{CLIENT}/24")
    servers(lab, client)
    with recording.at(client):
        for _ in range(41):
            client.run(["curl", "-sS", "http://198.51.100.80:8080/"], check=False)


@scenario("traceroute -n 198.51.100.5; traceroute -n -m 10 198.51.100.6; traceroute -n -I 198.51.100.5")
def traceroute(lab: Lab, recording: Recording) -> None:
    """Routes over four routers to a host, and to one that does not answer: UDP to a port each, up from 33434."""
    client = lab.host("client", f"{CLIENT}/24", switch="hop-0")
    hops = [("192.0.2.1/24", "203.0.113.1/30")]
    hops += [(f"203.0.113.{4 * n + 2}/30", f"203.0.113.{4 * n + 5}/30") for n in range(2)]
    hops += [("203.0.113.10/30", "198.51.100.1/24")]
    routers = []
    for number, (left, right) in enumerate(hops):
        router = lab.host(f"router-{number}", left, switch=f"hop-{number}")
        router.join(f"hop-{number + 1}", right)
        router.configure({"ipv4/ip_forward": "1", "ipv4/icmp_ratelimit": "0"})
        routers.append(router)
    target = lab.host("target", "198.51.100.5/24", switch=f"hop-{len(hops)}")
    target.configure({"ipv4/icmp_ratelimit": "0"})
    wire(client, routers, hops, target)
    with recording.at(client):
        client.run(["traceroute", "-n", "198.51.100.5"])
        client.run(["traceroute", "-n", "-m", "10", "-w", "1", "198.51.100.6"])
        client.run(["traceroute", "-n", "-I", "198.51.100.5"])


def wire(client: Host, routers: list[Host], hops: list[tuple[str, str]], target: Host) -> None:
    """Routes along the chain, both ways; what the last router cannot reach vanishes there."""
    client.route(SERVERS, via="192.0.2.1")
    client.route(MORE_SERVERS, via="192.0.2.1")
    target.route("192.0.2.0/24", via="198.51.100.1")
    for number, router in enumerate(routers):
        if number + 1 < len(routers):
            router.route(SERVERS, via=hops[number + 1][0].split("/")[0])
        if number:
            router.route("192.0.2.0/24", via=hops[number - 1][1].split("/")[0])
    routers[-1].never_reach(["198.51.100.6"], interface="eth1")


@scenario("curl -o '#1' 'ftp://198.51.100.21/file[1-20]'", snaplen=96)
def passive_ftp(lab: Lab, recording: Recording) -> None:
    """20 files fetched by passive FTP: for each a connection to another high port of the server, with data on it."""
    client = lab.host("client", f"{CLIENT}/24")
    folder = services.ftp(lab, servers(lab, client))
    for number in range(1, 21):
        (folder / f"file{number}").write_text("hello\n" * 100)
    with recording.at(client):
        client.run(["curl", "-sS", "-o", "/dev/null", "ftp://198.51.100.21/file[1-20]"])
