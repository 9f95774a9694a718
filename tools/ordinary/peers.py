"""Programs that hold lists of others like themselves: torrents, game servers; many on the lists are gone."""

import services
from lab import Host, Lab
from scenario import Recording, graded, ordinary

from ordinary.network import CLIENT, far, for_each, inside, near, outside
from ordinary.wan import FETCH, gateway, visits

SEED = """
import libtorrent, sys, time
folder, role, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
quiet = {name: False for name in ("enable_dht", "enable_lsd", "enable_upnp", "enable_natpmp")}
session = libtorrent.session({
    **quiet, "listen_interfaces": "0.0.0.0:6881", "allow_multiple_connections_per_ip": True, "connection_speed": 20,
    "enable_outgoing_utp": False, "enable_incoming_utp": False, "connections_limit": 500, "unchoke_slots_limit": 500,
    "peer_connect_timeout": 8, "torrent_connect_boost": 100,
    "out_enc_policy": 2, "in_enc_policy": 2,
})
torrent = session.add_torrent({"ti": libtorrent.torrent_info(folder + "/torrent"), "save_path": folder + "/" + role})
for peer in sys.argv[4:]:
    host, port = peer.split(":")
    torrent.connect_peer((host, int(port)))
time.sleep(seconds)
"""
"""A client of libtorrent's: a seed, or one that fetches from the peers named."""
MAKE = """
import libtorrent, os, sys
os.makedirs(sys.argv[1] + "/seed"); os.makedirs(sys.argv[1] + "/leech")
open(sys.argv[1] + "/seed/image", "wb").write(os.urandom(60_000))
storage = libtorrent.file_storage()
libtorrent.add_files(storage, sys.argv[1] + "/seed/image")
torrent = libtorrent.create_torrent(storage, 16384)
libtorrent.set_piece_hashes(torrent, sys.argv[1] + "/seed")
open(sys.argv[1] + "/torrent", "wb").write(libtorrent.bencode(torrent.generate()))
"""
PYTHON = "/usr/bin/python3"


def torrent_peers(lab: Lab, world: Host, alive: list[str], dead: list[str]) -> list[str]:
    """A swarm in which each peer listens on a port of its own: the list of it."""
    world.run([PYTHON, "-c", MAKE, str(lab.scratch)])
    redirect = "add table ip nat\nadd chain ip nat in { type nat hook prerouting priority -100; }\n"
    world.run(["nft", redirect + "add rule ip nat in tcp dport 10000-65000 redirect to :6881"])
    world.popen([PYTHON, "-c", SEED, str(lab.scratch), "seed", "90"])
    world.run(["sleep", "2"])
    peers = [f"{address}:{10000 + n * 397 % 50000}" for n, address in enumerate([*alive, *dead])]
    return sorted(peers, key=hash_of)


def torrent(lab: Lab, recording: Recording, alive: list[str], dead: list[str]) -> None:
    """A client of a swarm."""
    world, client = outside(lab, dead), inside(lab)
    peers = torrent_peers(lab, world, alive, dead)
    with recording.at(client):
        client.run([PYTHON, "-c", SEED, str(lab.scratch), "leech", "30", *peers])


def hash_of(peer: str) -> int:
    """An order of peers that is as good as none, and always the same."""
    return int(peer.replace(".", "").replace(":", "")) * 2654435761 % 2**32


@ordinary(
    "libtorrent: session().add_torrent(...), 130 peers, each on a port of its own",
    "Most of a torrent's peers are there, a third are not: whoever fetches an image of Debian's meets both.",
    snaplen=64,
)
def torrent_mostly_alive(lab: Lab, recording: Recording) -> None:
    """A torrent client and 130 peers: 75 take part, 55 never answer."""
    torrent(lab, recording, near(1, 75), far(1, 55))


@ordinary(
    "libtorrent: session().add_torrent(...), 95 peers, each on a port of its own",
    "An old torrent's peers have gone home, and its client tries them all: more fails than works, so low is right.",
    graded("low", "random_scan", "random", CLIENT),
    snaplen=64,
)
def torrent_peers_gone(lab: Lab, recording: Recording) -> None:
    """A torrent client and 95 peers: 20 take part, 75 never answer."""
    torrent(lab, recording, near(1, 20), far(1, 75))


DHT = """
import libtorrent, sys, time
base = {
    "enable_dht": True, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False, "dht_bootstrap_nodes": "",
    "dht_upload_rate_limit": 200000, "dht_restrict_routing_ips": False, "dht_restrict_search_ips": False,
    "dht_prefer_verified_node_ids": False,
}
session = libtorrent.session({**base, "listen_interfaces": sys.argv[1]})
for node in sys.argv[3:]:
    host, port = node.split(":")
    session.add_dht_node((host, int(port)))
time.sleep(float(sys.argv[2]))
"""
"""A node of libtorrent's, on these interfaces, which is told of others."""


@ordinary(
    "libtorrent: session().add_dht_node(...), 140 nodes, each on a port of its own",
    "A node of a hash table remembers others, and asks those that have left as well as those that are still there.",
)
def dht_nodes(lab: Lab, recording: Recording) -> None:
    """A node asks 140 others, over and over; 50 never answer."""
    world, client = outside(lab, far(1, 50)), inside(lab)
    alive = [f"{address}:{6000 + n * 731 % 50000}" for n, address in enumerate(near(1, 90))]
    dead = [f"{address}:{7000 + n * 577 % 50000}" for n, address in enumerate(far(1, 50))]
    for part in (alive[:45], alive[45:]):  # a session of libtorrent answers from fifty addresses at most
        world.popen([PYTHON, "-c", DHT, ",".join(part), "90"])
    world.run(["sleep", "3"])
    mixed = sorted([*alive, *dead], key=hash_of)
    with recording.at(client, bpf="udp"):
        client.run([PYTHON, "-c", DHT, "0.0.0.0:6881", "40", *mixed])


GAME = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_IP, 8, 1)
sock.bind(("0.0.0.0", 27015))
answer = b"\\xff\\xff\\xff\\xffI\\x11Lab\\0map\\0game\\0Game\\0\\0\\0\\x03\\x10\\0dl\\0\\0" + b"1.0\\0"
while True:
    data, info, _, peer = sock.recvmsg(2048, 64)
    sock.sendmsg([answer], [(socket.SOL_IP, 8, bytes(4) + info[0][2][4:8] + bytes(4))], 0, peer)
"""
"""Answers A2S_INFO from the address that was asked: game servers are not packaged."""


def game_servers(lab: Lab, world: Host, alive: list[str], dead: list[str], refusing: list[str]) -> str:
    """Game servers on ten ports, and the file that lists them."""
    redirect = "add table ip nat\nadd chain ip nat in { type nat hook prerouting priority -100; }\n"
    rule = "add rule ip nat in ip daddr 198.51.100.0/24 udp dport 20000-40000 dnat to :27015"
    world.run(["nft", redirect + rule])
    world.start([PYTHON, "-c", GAME]).wait_for_port(27015, "udp")
    ports = [27015, 27016, 27017, 27018, 27019, 27020, 27021, 28015, 29015, 30015]
    every = [f"a2s {address}:{ports[n % 10]}" for n, address in enumerate([*alive, *dead, *refusing])]
    servers = lab.scratch / "servers"
    servers.write_text("\n".join(every) + "\n")
    return str(servers)


def game_browser(lab: Lab, recording: Recording, alive: list[str], dead: list[str], refusing: list[str]) -> None:
    """A list of game servers is refreshed three times, each server on a port of its own."""
    world, client = outside(lab, dead, refusing), inside(lab)
    servers = game_servers(lab, world, alive, dead, refusing)
    with recording.at(client):
        for _ in range(3):
            client.run(["quakestat", "-f", servers, "-retry", "1", "-interval", "1"], check=False)


@ordinary(
    "quakestat -f servers (120 servers, three times); the servers are 12 lines of Python",
    "Who looks for a game asks every server of a list how many play there; some of them are off.",
    snaplen=96,
)
def game_browser_list(lab: Lab, recording: Recording) -> None:
    """120 game servers are asked, three times: 42 never answer, ten refuse."""
    game_browser(lab, recording, near(1, 68), far(1, 42), far(43, 52))


@ordinary(
    "quakestat -f servers (100 servers, three times); the servers are 12 lines of Python",
    "The list of an old game names servers that are gone, each met on one port of its own, which the list told.",
    snaplen=96,
)
def game_browser_old_list(lab: Lab, recording: Recording) -> None:
    """100 game servers are asked, three times: 64 never answer, eleven refuse."""
    game_browser(lab, recording, near(1, 25), far(1, 64), far(65, 75))


@ordinary(
    "libtorrent, quakestat, curl and dig, all behind one NAT",
    "An evening at home: a torrent, a list of game servers, and pages; most of what they try is gone, so low is right.",
    graded("low", "random_scan", "random", CLIENT),
    snaplen=64,
)
def home_evening(lab: Lab, recording: Recording) -> None:
    """All that one home does at the same time, seen on its outside; 170 of 265 hosts never answer."""
    dead = [*near(131, 200), *far(101, 200)]
    world = outside(lab, dead)
    router, house = gateway(lab, users=4)
    services.web(lab, world, [80, 443])
    services.dns(world, "--address=/example/198.51.100.80")
    peers = torrent_peers(lab, world, near(1, 25), far(101, 200))
    listed = game_servers(lab, world, near(41, 70), near(131, 180), [])
    pages = visits([*near(81, 120), *near(181, 200)], [80, 443], users=4)
    ask = f"{FETCH} $1; dig +short +time=1 +tries=1 @198.51.100.53 www.example; sleep 1"
    with recording.at(router):
        running = [house.popen([PYTHON, "-c", SEED, str(lab.scratch), "leech", "28", *peers])]
        running.append(house.popen(["quakestat", "-f", listed, "-retry", "1", "-interval", "2"]))
        house.run(for_each(pages, ask, at_once=4), timeout=90)
        for each in running:
            each.wait(timeout=60)
