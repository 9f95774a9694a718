"""Who is there? Questions to a group or to all, and what is answered to the one who asked."""

import services
from lab import Host, Lab
from scenario import Recording, ordinary

from ordinary.network import CLIENT

AVAHI = """
[server]
host-name={name}
use-ipv6=no
enable-dbus=no
[publish]
publish-workstation=yes
"""


def reaches_groups(host: Host) -> None:
    """Let the host send to multicast groups, from any port at all, as some systems do."""
    host.run(["ip", "route", "add", "224.0.0.0/4", "dev", "eth0"])
    host.configure({"ipv4/ip_local_port_range": "1024 65000"})


@ordinary(
    "avahi-daemon (two hosts); dig -p 5353 @224.0.0.251 NAME.local (40 times)",
    "A simple resolver asks for names by multicast from any port, and each host answers to that port by itself.",
    snaplen=128,
)
def mdns_unicast_answers(lab: Lab, recording: Recording) -> None:
    """A client asks a group for two hosts, from 40 ports; they answer to these, and dig expects the group's address."""
    client = lab.host("client", f"{CLIENT}/24")
    reaches_groups(client)
    for n in range(2):
        host = lab.host(f"thing{n}", f"192.0.2.{100 + n}/24")
        reaches_groups(host)
        config = lab.scratch / f"avahi{n}.conf"
        config.write_text(AVAHI.format(name=f"thing{n}"))
        run = ["avahi-daemon", "-f", str(config), "--no-drop-root", "--no-chroot", "--no-rlimits"]
        host.start(services.with_mounts("mount -t tmpfs tmpfs /run", run)).wait_for_port(5353, "udp")
    client.run(["sleep", "4"])
    ask = "for n in $(seq 40); do dig +short +tries=1 +time=1 -p 5353 @224.0.0.251 thing$((n % 2)).local; done"
    with recording.at(client):
        client.run(["sh", "-c", ask], check=False)


@ordinary(
    "wsdd -i eth0 (two devices); wsdd -D -o (five PCs that look for them, again and again)",
    "A PC that looks for printers asks a group; each device answers from port 3702 to the port that asked.",
)
def ws_discovery(lab: Lab, recording: Recording) -> None:
    """Five PCs look for two devices by WS-Discovery, 22 times each; each device answers to ever new ports."""
    for n in range(2):
        host = lab.host(f"device{n}", f"192.0.2.{100 + n}/24")
        reaches_groups(host)
        host.popen(["wsdd", "-4", "-i", "eth0", "-t", "-n", f"device{n}"])
    pcs = [lab.host(f"pc{n}", f"192.0.2.{20 + n}/24") for n in range(5)]
    for pc in pcs:
        reaches_groups(pc)
    pcs[0].run(["sleep", "8"])
    with recording.at(lab.switch("lan"), interface="bridge", bpf="udp port 3702"):
        for _ in range(22):
            looking = [pc.popen(["timeout", "-s", "KILL", "2", "wsdd", "-4", "-i", "eth0", "-D", "-o"]) for pc in pcs]
            for each in looking:
                each.wait(timeout=30)


@ordinary(
    "minidlnad (eight devices); gssdp-discover -i eth0 -n 1 -t upnp:rootdevice (32 times)",
    "A player looks for media servers by SSDP: it asks a group, and each answers to the port that asked.",
    snaplen=128,
)
def ssdp_search(lab: Lab, recording: Recording) -> None:
    """A player looks for eight media servers, 32 times, each time from another port."""
    client = lab.host("client", f"{CLIENT}/24")
    reaches_groups(client)
    for n in range(8):
        host = lab.host(f"media{n}", f"192.0.2.{100 + n}/24")
        reaches_groups(host)
        folder = lab.scratch / f"media{n}"
        folder.mkdir()
        config = folder / "minidlna.conf"
        config.write_text(
            f"network_interface=eth0\nmedia_dir={folder}\ndb_dir={folder}\nlog_dir={folder}\nuuid=4d696e69-444c-164e-9d41-{n:012}\n"
            f"inotify=no\nnotify_interval=900\nuser=root\nfriendly_name=media{n}\n"
        )
        host.popen(["minidlnad", "-S", "-f", str(config), "-P", str(folder / "pid")])
    client.run(["sleep", "6"])
    with recording.at(client, bpf="udp"):
        for _ in range(32):
            client.run(["gssdp-discover", "-i", "eth0", "-n", "1", "-t", "upnp:rootdevice"], check=False)


@ordinary(
    "dnsmasq --dhcp-range=...; udhcpc -i eth0 -q -n (24 hosts)",
    "In the morning a whole office asks for addresses: broadcasts, from no address at first.",
    snaplen=360,
)
def dhcp_morning(lab: Lab, recording: Recording) -> None:
    """24 PCs ask for addresses by broadcast, and have them from one server."""
    server = lab.host("server", "192.0.2.1/24")
    services.dns(
        server,
        "--dhcp-range=192.0.2.100,192.0.2.150,1h",
        f"--dhcp-leasefile={lab.scratch}/leases",
        "--dhcp-authoritative",
    )
    pcs = [lab.host(f"pc{n}") for n in range(24)]
    with recording.at(server):
        for pc in pcs:
            pc.run(["udhcpc", "-i", "eth0", "-q", "-n", "-f", "-s", "/bin/true"], check=False)
