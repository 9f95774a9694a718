"""The outside of a house: many behind one address, a line that fails, and tunnels to those who have moved on."""

import services
from lab import Host, Lab
from scenario import Recording, ordinary

from ordinary.network import CLIENT, GATEWAY, OUTSIDE, far, firewall, for_each, inside, let_through, near, outside

FETCH = "curl -sS -o /dev/null -m 4"
USERS = 24
MASQUERADE = """
add table ip nat
add chain ip nat out { type nat hook postrouting priority 100; }
add rule ip nat out oifname "eth0" masquerade
"""


def gateway(lab: Lab, users: int = USERS) -> tuple[Host, Host]:
    """A router that hides users behind 192.0.2.20, and the machine that is these users: 192.0.2.128 and up."""
    router = lab.host("nat", f"{CLIENT}/25")
    for prefix in OUTSIDE:
        router.route(prefix, via=GATEWAY)
    router.join("house", "192.0.2.129/25")
    router.configure({"ipv4/ip_forward": "1"})
    router.run(["nft", MASQUERADE])
    house = lab.host("users", *(f"192.0.2.{130 + n}/25" for n in range(users)), switch="house")
    for prefix in OUTSIDE:
        house.route(prefix, via="192.0.2.129")
    return router, house


def visits(addresses: list[str], ports: list[int], users: int = USERS) -> list[str]:
    """curl's arguments of one visit to each address by one user after the other, on one port after the other."""
    return [
        f"--interface 192.0.2.{130 + n % users} http://{address}:{ports[n % len(ports)]}/"
        for n, address in enumerate(addresses)
    ]


@ordinary(
    "curl --interface USER http://HOST:PORT/ (24 users behind nftables' masquerade, 290 visits)",
    "One address stands for a whole house: what fails to each of its users is little, and much more works.",
    snaplen=64,
)
def nat_gateway(lab: Lab, recording: Recording) -> None:
    """24 users behind one address visit 290 services on six ports of which 56 never answer, seen on the outside."""
    ports = [80, 443, 8080, 8443, 993, 5222]
    world = outside(lab, dead=far(1, 56))
    services.web(lab, world, ports)
    router, house = gateway(lab)
    both = [*near(1, 234), *far(1, 56)]
    mixed = [both[(n * 101) % len(both)] for n in range(len(both))]
    with recording.at(router):
        house.run(for_each(visits(mixed, ports), f"{FETCH} $1", at_once=16), timeout=120)


def outage(lab: Lab, recording: Recording, rule: str, rounds: str = "up down up", interface: str = "eth0") -> None:
    """Users visit 60 sites and ask for names, as often as there are rounds; in some the line is down."""
    world = outside(lab)
    services.web(lab, world, [80, 443])
    services.dns(world, "--address=/example/198.51.100.80")
    router, house = gateway(lab)
    sites = [*near(1, 40), *far(1, 20)]
    ask = f"{FETCH} $1; dig +short +time=1 +tries=2 @198.51.100.53 www.example"
    with recording.at(router, interface=interface):
        for line in rounds.split():
            if line == "down":
                firewall(world, rule)
            visited = sites[:12] if line == "briefly" else sites
            house.run(for_each(visits(visited, [80, 443]), ask, at_once=12), timeout=120)
            let_through(world)


@ordinary(
    "curl, dig (24 users behind a NAT, 60 sites); the line is down for half a minute",
    "Lines fail, all at once and for a while; before and after, the same sites answer the same users.",
    snaplen=64,
)
def outage_silent(lab: Lab, recording: Recording) -> None:
    """Users visit 60 sites, three times; the second time the line is down and all vanishes. Seen on the outside."""
    outage(lab, recording, "drop")


@ordinary(
    "curl, dig (24 users behind a NAT, 60 sites); the provider answers: network unreachable",
    "A provider that has lost its own line says so for every packet, until it has it back.",
    snaplen=64,
)
def outage_icmp(lab: Lab, recording: Recording) -> None:
    """Users visit 60 sites, three times; the second time ICMP says that the network is unreachable."""
    outage(lab, recording, "reject with icmp net-unreachable")


@ordinary(
    "curl, dig (24 users behind a NAT, 60 sites), seen on the inside",
    "On the inside of a line that fails each user is seen by itself, and none of them tries much.",
    snaplen=64,
)
def outage_inside(lab: Lab, recording: Recording) -> None:
    """Users visit 60 sites, three times; the second time the line is down. Seen where the users are."""
    outage(lab, recording, "drop", interface="eth1")


@ordinary(
    "curl, dig (24 users behind a NAT, 60 sites); the line goes down and stays down",
    "Where a line stays down nearly all fails; sites that were reached before are no targets, and few others are new.",
    snaplen=64,
)
def outage_lasting(lab: Lab, recording: Recording) -> None:
    """Users visit twelve sites, then the line is down and all 60 are tried, twice. Seen on the outside."""
    outage(lab, recording, "drop", rounds="briefly down down")


@ordinary(
    "openvpn --server ... --keepalive 8 120; openvpn --client --local CLIENT --lport PORT (52 of them)",
    "Those who travel change their address and say no word: the gateway goes on asking for them where they were.",
    snaplen=50,
)
def vpn_clients_gone(lab: Lab, recording: Recording) -> None:
    """52 clients of a VPN gateway vanish; it sends keep-alives to each of them from port 1194."""
    world, server = outside(lab), inside(lab, "gateway")
    key = lab.scratch / "key.pem"
    services.certificate(lab.scratch)
    said = services.run_outside(
        ["openssl", "x509", "-in", f"{lab.scratch}/cert.pem", "-noout", "-fingerprint", "-sha256"]
    )
    fingerprint = said.strip().split("=")[1]
    common = ["openvpn", "--proto", "udp", "--verb", "1", "--cert", f"{lab.scratch}/cert.pem", "--key", str(key)]
    common += ["--peer-fingerprint", fingerprint, "--keepalive", "8", "120"]
    pool = ["--server", "192.0.2.128", "255.255.255.128", "--topology", "subnet", "--duplicate-cn", "--dh", "none"]
    listening = [*common, "--dev", "tun", "--local", CLIENT, "--lport", "1194", *pool]
    server.start(listening).wait_for_port(1194, "udp")
    client = [*common[:-3], "--dev", "null", "--tls-client", "--pull", "--remote", CLIENT, "1194"]
    client += ["--pull-filter", "ignore", "tun-mtu", "--pull-filter", "ignore", "ifconfig"]
    with recording.at(server):
        for n, address in enumerate([*near(1, 26), *far(1, 26)]):
            world.popen([*client, "--local", address, "--lport", str(30000 + 7 * n)])
            server.run(["sleep", "0.1"])
        server.run(["sleep", "4"])
        firewall(world, "ip daddr 192.0.2.20 drop", hook="output")
        firewall(world, "ip saddr 192.0.2.20 drop")
        server.run(["sleep", "70"], timeout=100)
