"""Servers and fleets: log-ins to many hosts, keep-alives to clients that are gone, clusters that lack members."""

import services
from lab import Host, Lab
from scenario import Recording, graded, ordinary

from ordinary.network import CLIENT, far, firewall, for_each, inside, let_through, near, outside

SERVER = CLIENT


@ordinary(
    "parallel-ssh -h fleet -p 10 uptime (twice)",
    "A fleet is looked after by SSH to all of it, and some of it is always off.",
    snaplen=80,
)
def ssh_fleet(lab: Lab, recording: Recording) -> None:
    """A command on 33 hosts by SSH, ten at once, and on 9 of them again; six are off, three refuse."""
    dead, refusing = far(1, 6), far(7, 9)
    world, host = outside(lab, dead, refusing), inside(lab)
    options = services.ssh(lab, world)
    fleet = lab.scratch / "fleet"
    pairs = [f"-O{option}" for option in options if "=" in option] + ["-Oconnecttimeout=4"]
    run = [
        "parallel-ssh",
        "-h",
        str(fleet),
        "-l",
        "root",
        "-p",
        "10",
        "-t",
        "20",
        *pairs,
        "-x",
        f"-F none -i {options[3]}",
    ]
    with recording.at(host):
        for part in ([*near(1, 24), *dead, *refusing], [*near(1, 4), *dead, *refusing]):
            fleet.write_text("\n".join(part) + "\n")
            host.run([*run, "uptime"], check=False, timeout=120)


@ordinary(
    "rsync rsync://HOST/home/ (38 laptops, at night)",
    "A backup server asks every laptop each night; most are closed, so most do not answer: low is right.",
    graded("low", "address_scan", "connect", CLIENT, port=873),
)
def backup_laptops_off(lab: Lab, recording: Recording) -> None:
    """38 laptops are to be backed up by rsync; 30 are off."""
    world, host = outside(lab, dead=far(1, 30)), inside(lab)
    folder = lab.scratch / "home"
    folder.mkdir()
    (folder / "letter").write_text("Dear all\n")
    config = lab.scratch / "rsyncd.conf"
    config.write_text(f"uid = root\ngid = root\nuse chroot = no\n[home]\npath = {folder}\nread only = yes\n")
    world.start(["rsync", "--daemon", "--no-detach", "--config", str(config)]).wait_for_port(873)
    copy = f"rsync -a --contimeout=4 rsync://$1/home/ {lab.scratch}/backup-$1"
    with recording.at(host):
        host.run(for_each([*far(1, 30), *near(1, 8)], copy, at_once=5), timeout=120)


def world_of_nats(lab: Lab) -> Host:
    """The world outside, whose ports are those that a carrier's NAT gives: not the ones that systems draw."""
    world = outside(lab)
    world.configure({"ipv4/ip_local_port_range": "1024 32000"})
    return world


def vanish(world: Host) -> None:
    """Let the world outside say no more to the server, and hear no more of it."""
    firewall(world, f"ip daddr {SERVER} drop", hook="output")
    firewall(world, f"ip saddr {SERVER} drop")


@ordinary(
    "nginx (listen 5223 so_keepalive=6s:4s:9); nc -s CLIENT 192.0.2.20 5223 (56 clients)",
    "Telephones leave without a word; their push server goes on asking each whether it is still there.",
    snaplen=80,
)
def push_clients_gone(lab: Lab, recording: Recording) -> None:
    """56 clients connect to a push server and vanish; it sends keep-alives to each of them."""
    world, server = world_of_nats(lab), inside(lab, "server")
    services.web(lab, server, [5223], listen="so_keepalive=6s:4s:9")
    with recording.at(server):
        for address in [*near(1, 28), *far(1, 28)]:
            world.popen(["nc", "-d", "-s", address, SERVER, "5223"])
        server.run(["sleep", "3"])
        vanish(world)
        server.run(["sleep", "32"])


@ordinary(
    "redis-server --tcp-keepalive 9; nc 192.0.2.20 6379 (45 of one host, which then starts anew)",
    "A host that has started anew knows nothing of its old connections: it resets what the database asks of them.",
    snaplen=80,
)
def database_client_restarted(lab: Lab, recording: Recording) -> None:
    """A pool of 45 connections to a database; its host starts anew, and resets the keep-alives that follow."""
    world, server = world_of_nats(lab), inside(lab, "server")
    world.configure({"ipv4/tcp_orphan_retries": "1"})
    redis = ["redis-server", "--port", "6379", "--save", "", "--protected-mode", "no", "--tcp-keepalive", "9"]
    server.start([*redis, "--dir", str(lab.scratch)]).wait_for_port(6379)
    ask = f"(echo PING; sleep 60) | nc -s 198.51.100.7 {SERVER} 6379"
    with recording.at(server):
        connections = [world.start(["sh", "-c", ask]) for _ in range(45)]
        server.run(["sleep", "3"])
        vanish(world)
        for each in connections:
            each.stop()
        server.run(["sleep", "5"])
        let_through(world)
        server.run(["sleep", "12"])


@ordinary(
    "mosquitto; mosquitto_sub -k 5 -A CLIENT (56 clients)",
    "Things on batteries go silent; their broker closes each connection with a FIN that no one acknowledges.",
    snaplen=80,
)
def broker_clients_gone(lab: Lab, recording: Recording) -> None:
    """56 clients of a broker vanish; it waits, then closes, and its FINs are not answered."""
    world, server = world_of_nats(lab), inside(lab, "server")
    config = lab.scratch / "mosquitto.conf"
    config.write_text("listener 1883\nallow_anonymous true\nuser root\n")
    server.start(["mosquitto", "-c", str(config)]).wait_for_port(1883)
    with recording.at(server):
        for n, address in enumerate([*near(1, 28), *far(1, 28)]):
            world.popen(["mosquitto_sub", "-h", SERVER, "-A", address, "-k", "5", "-t", "news", "-i", f"thing-{n}"])
        server.run(["sleep", "4"])
        vanish(world)
        server.run(["sleep", "30"])


def pool(lab: Lab, recording: Recording, is_inside: bool) -> None:
    """Idle connections through a NAT, which forgets them; seen at the server, or at the client."""
    server = lab.host("server", "198.51.100.20/24", switch="servers")
    nat = lab.host("nat", "192.0.2.1/24")
    nat.join("servers", "198.51.100.1/24")
    nat.configure({"ipv4/ip_forward": "1"})
    client = lab.host("client", f"{CLIENT}/24")
    client.route("198.51.100.0/24", via="192.0.2.1")
    redis = ["redis-server", "--port", "6379", "--save", "", "--protected-mode", "no", "--tcp-keepalive", "4"]
    server.start([*redis, "--dir", str(lab.scratch)]).wait_for_port(6379)
    masquerade = (
        "add table ip nat\nadd chain ip nat out { type nat hook postrouting priority 100; }\n"
        'add rule ip nat out oifname "eth1" masquerade random\n'
    )
    ask = "(echo PING; sleep 60) | nc 198.51.100.20 6379"
    with recording.at(client if is_inside else server):
        nat.run(["nft", masquerade])
        for _ in range(34):
            client.popen(["sh", "-c", ask])
        server.run(["sleep", "8"])
        firewall(nat, "drop", hook="forward")
        firewall(nat, "drop")
        server.run(["sleep", "20"])
        let_through(nat)
        nat.run(["nft", masquerade])
        for _ in range(34):
            client.popen(["sh", "-c", ask])
        server.run(["sleep", "6"])


POOL = "redis-server --tcp-keepalive 4; nc 198.51.100.20 6379 (34 of one host, behind a NAT that forgets them)"


@ordinary(
    POOL,
    "A NAT that starts anew forgets its connections: what both sides still say is dropped, and the pools reconnect.",
    snaplen=80,
)
def pool_nat_restart(lab: Lab, recording: Recording) -> None:
    """34 idle connections through a NAT to a redis server; the NAT forgets them, and all connect again."""
    pool(lab, recording, is_inside=False)


@ordinary(
    POOL + ", seen at the client",
    "The same where the client is: its connections fall silent, and it opens new ones.",
    snaplen=80,
)
def pool_nat_restart_inside(lab: Lab, recording: Recording) -> None:
    """34 idle connections through a NAT that forgets them, and 34 new ones."""
    pool(lab, recording, is_inside=True)


NATS = "port: 4222\ncluster {{ name: lab, listen: 0.0.0.0:6222, connect_retries: 100, routes: [{routes}] }}\n"


@ordinary(
    "nats-server (eight servers, each with a list of 28 routes)",
    "Lists of a cluster's members outlive the members; each server tries all of them, each second.",
    snaplen=80,
)
def cluster_old_members(lab: Lab, recording: Recording) -> None:
    """Eight servers of a cluster with a list of 28: twelve never answer and eight refuse, for 15 seconds."""
    alive = [f"192.0.2.{n}" for n in range(31, 39)]
    gone = [f"192.0.2.{n}" for n in range(41, 53)]
    lab.host("refusing", *(f"192.0.2.{n}/24" for n in range(61, 69)))
    routes = ", ".join(f'"nats://{a}:6222"' for a in [*alive, *gone, *(f"192.0.2.{n}" for n in range(61, 69))])
    config = lab.scratch / "nats.conf"
    config.write_text(NATS.format(routes=routes))
    members = [lab.host(f"nats{n}", f"{address}/24") for n, address in enumerate(alive)]
    for member in members:
        member.never_reach(gone)
    with recording.at(members[0]):
        for member in members:
            member.start(["nats-server", "-c", str(config)])
        members[0].run(["sleep", "15"])


@ordinary(
    "swaks --server HOST --to ... (84 exchangers)",
    "A mailing list goes to the exchangers of many domains, some of which are long gone.",
    snaplen=80,
)
def mailing_list(lab: Lab, recording: Recording) -> None:
    """A letter goes to 84 mail exchangers: 20 never answer, eight refuse."""
    world, host = outside(lab, dead=far(1, 20), refusing=far(21, 28)), inside(lab)
    world.start(["/usr/sbin/smtp-sink", "-u", "root", "0.0.0.0:25", "64"]).wait_for_port(25)
    send = "swaks --server $1 --to list@example.net --from me@example.org --helo me.example.org --timeout 4 -n -hr -hs"
    with recording.at(host):
        host.run(for_each([*near(1, 56), *far(1, 28)], send, at_once=6), timeout=120)


PORTS = "25 110 143 443 465 587 993 995 8080"


@ordinary(
    "nc -w 3 -q 1 HOST PORT (36 of them, twelve at once, from six PCs; a wizard itself needs a screen)",
    "A mail program that sets up an account guesses: a handful of names, each on the ports of mail.",
    snaplen=80,
)
def mail_wizard(lab: Lab, recording: Recording) -> None:
    """Six PCs look for the mail server on nine ports of each of four hosts; most are closed or filtered."""
    world = outside(lab, dead=near(3, 4))
    services.web(lab, world, [143, 587, 993])
    pcs = [inside(lab, f"pc{n}", f"192.0.2.{20 + n}") for n in range(6)]
    targets = [f"{address} {port}" for address in near(1, 4) for port in PORTS.split()]
    look = "echo QUIT | nc -w 3 -q 1 $1"
    switch = lab.switch("lan")
    with recording.at(switch, interface="bridge"):
        for pc in pcs:
            pc.run(for_each(targets, look, at_once=12), timeout=120)


@ordinary(
    "hping3 -a FORGED -S -p 80 -c 1 192.0.2.20 (70 forged addresses)",
    "A server answers whoever seems to ask: of those whose addresses were forged it searched none.",
    snaplen=64,
)
def forged_clients(lab: Lab, recording: Recording) -> None:
    """A web server answers SYNs from 70 forged addresses: 40 of the hosts reset, 30 are silent."""
    world, server = outside(lab, dead=far(1, 30)), inside(lab, "server")
    services.web(lab, server, [80])
    forge = f"timeout 1 hping3 -q -a $1 -S -p 80 -c 1 -s $((2000 + $(echo $1 | tr -d .) % 60000)) {SERVER}"
    with recording.at(server):
        world.run(for_each([*near(1, 40), *far(1, 30)], forge, at_once=8), timeout=90)
        world.run(["sleep", "8"])
