"""Files over FTP, TFTP and SMB: protocols that open new ports for each of them."""

import services
from lab import Lab
from scenario import Recording, ordinary

from ordinary.network import CLIENT, firewall, for_each, inside, outside

FTP = "198.51.100.21"


@ordinary(
    "lftp -e 'cls -q dir0; cls -q dir1; ...' ftp://198.51.100.21 (30 empty directories)",
    "A passive listing opens a port; where the directory is empty no byte passes before the server closes.",
    snaplen=128,
)
def ftp_passive_empty(lab: Lab, recording: Recording) -> None:
    """30 empty directories are listed by passive FTP, in two ways: 60 ports of the server, and no data on any."""
    world, client = outside(lab), inside(lab)
    folder = services.ftp(lab, world)
    for n in range(30):
        (folder / f"dir{n}").mkdir()
    list_all = "; ".join(f"cls -q dir{n}" for n in range(30))
    setup = f"set cmd:fail-exit no; set net:timeout 5; set ftp:use-feat no; {list_all}; quit"
    with recording.at(client):
        client.run(
            ["lftp", "-e", setup, f"ftp://{FTP}"], check=False, env={"HOME": str(lab.scratch), "PATH": "/usr/bin:/bin"}
        )


@ordinary(
    "curl -P - --disable-eprt ftp://198.51.100.21/file (18 times), behind a firewall that drops what comes in",
    "In active FTP the server connects to the ports that the client names; a firewall at home drops those SYNs.",
    snaplen=128,
)
def ftp_active_firewalled(lab: Lab, recording: Recording) -> None:
    """A client names 18 ports, one after the other; the server's connections to them vanish."""
    world, client = outside(lab), inside(lab)
    folder = services.ftp(lab, world, "port_enable=YES\nconnect_from_port_20=YES\nconnect_timeout=2\n")
    (folder / "file").write_text("hello\n")
    firewall(client, "tcp flags & (syn | ack) == syn drop")
    get = "curl -sS -m 4 -o /dev/null -P - --disable-eprt ftp://198.51.100.21/file"
    with recording.at(client):
        client.run(for_each(range(18), get, at_once=2), timeout=120)


@ordinary(
    "in.tftpd; tftp 198.51.100.69 -c get fileN (24 of them)",
    "TFTP answers each request from a new port: a machine that starts over the network fetches dozens of files.",
)
def tftp_boot(lab: Lab, recording: Recording) -> None:
    """24 files over TFTP, each from a new port of the server; some are not there."""
    world, client = outside(lab), inside(lab)
    folder = lab.scratch / "tftp"
    folder.mkdir(mode=0o755)
    for n in range(20):
        (folder / f"file{n}").write_text("hello\n" * 300)
    serve = ["in.tftpd", "-L", "-4", "-a", "198.51.100.69:69", "-u", "root", "-s", str(folder)]
    world.start(serve).wait_for_port(69, "udp")
    with recording.at(client):
        for n in range(24):
            client.run(["tftp", "-m", "binary", "198.51.100.69", "-c", "get", f"file{n}", "/dev/null"], check=False)


SMB = """
[global]
netbios name = {name}
workgroup = HOUSE
interfaces = eth0
bind interfaces only = yes
map to guest = Bad User
load printers = no
disable spoolss = yes
log level = 0
{folders}
[share]
path = {path}
guest ok = yes
"""
FOLDERS = ("lock", "state", "cache", "pid", "private")


@ordinary(
    "nmblookup '*'; smbclient -N -L HOST (eight hosts, three of them off); smbclient -c 'get file'",
    "Whoever opens the network neighbourhood asks all by broadcast, and then each by itself: some are off.",
)
def smb_neighbourhood(lab: Lab, recording: Recording) -> None:
    """A client asks by broadcast who is there, lists shares of eight hosts, three of them off, and copies a file."""
    client = lab.host("client", f"{CLIENT}/24")
    for n in range(31, 36):
        host = lab.host(f"pc{n}", f"192.0.2.{n}/24")
        config = smb_config(lab, host.name)
        for daemon in ("nmbd", "smbd"):
            host.start([daemon, "-F", "--no-process-group", "-s", config])
        host.start(["true"])
    config = smb_config(lab, "client")
    client.run(["sleep", "12"])
    client.run(["ip", "neigh", "flush", "all"])
    with recording.at(client):
        for _ in range(3):
            client.run(["nmblookup", "-s", config, "*"], check=False)
        hosts = for_each(
            [f"192.0.2.{n}" for n in range(31, 39)], f"timeout 8 smbclient -s {config} -N -L $1", at_once=3
        )
        client.run(hosts, timeout=90)
        client.run(["smbclient", "-s", config, "-N", "//192.0.2.31/share", "-c", "get file /dev/null"], check=False)


def smb_config(lab: Lab, name: str) -> str:
    """Samba's configuration for a host, with all its folders under the lab's."""
    base = lab.scratch / f"{name}-smb"
    base.mkdir()
    for folder in FOLDERS:
        (base / folder).mkdir()
    (base / "file").write_text("hello\n" * 500)
    lines = "\n".join(
        f"{'pid' if f == 'pid' else f} {'dir' if f == 'private' else 'directory'} = {base}/{f}" for f in FOLDERS
    )
    config = base / "smb.conf"
    config.write_text(SMB.format(name=name, folders=lines, path=base))
    return str(config)
