"""Servers that scenarios start in hosts of the lab: nginx, dnsmasq, sshd, vsftpd, with no setting of the machine's."""

import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from lab import Host, Lab, Process

NGINX = """
daemon off; error_log stderr; pid {folder}/pid; user root;
events {{ worker_connections 512; }}
http {{
  access_log off; types {{ text/html html; image/png png; text/plain txt; }}
  {paths}
  server {{ {listens} root {folder}; rewrite ^.*[.]png$ /picture.png; }}
}}
"""
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
SSHD = """
Port 22
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PermitRootLogin yes
StrictModes no
UsePAM no
PidFile none
Subsystem sftp internal-sftp
"""
VSFTPD = """
listen=YES
background=NO
anonymous_enable=YES
anon_root={folder}
no_anon_password=YES
pasv_enable=YES
seccomp_sandbox=NO
xferlog_enable=NO
"""


def with_mounts(setup: str, argv: Sequence[str]) -> list[str]:
    """The command in a mount namespace of its own, where `setup` has been run by the shell first."""
    return ["unshare", "--mount", "sh", "-ec", f'{setup}; exec "$@"', "sh", *argv]


def web(lab: Lab, host: Host, ports: Iterable[int], tls: Iterable[int] = (), listen: str = "", extra: str = "") -> Path:
    """nginx on these ports of all the host's addresses, IPv4 and IPv6; gives the folder that it serves.

    `listen`: more parameters of the plain ports; `extra`: more directives of the server.
    """
    folder = lab.scratch / f"{host.name}-web"
    folder.mkdir()
    listens = [f"listen {port} {listen}; listen [::]:{port} {listen};" for port in ports] + [extra]
    if tls:
        certificate(folder)
        listens += [f"listen {port} ssl;" for port in tls]
        listens += [f"ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;"]
    paths = " ".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY)
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, listens=" ".join(listens), paths=paths))
    (folder / "index.html").write_text("<html><body>Hello.</body></html>\n")
    (folder / "picture.png").write_bytes(picture(32))
    process = host.start(["nginx", "-p", str(folder), "-c", str(config)])
    for port in (*ports, *tls):
        process.wait_for_port(port)
    return folder


def certificate(folder: Path) -> None:
    """A self-signed certificate for *.example, key.pem and cert.pem in the folder."""
    key = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
    out = ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem", "-subj", "/CN=www.example"]
    run_outside([*key, *out])


def picture(side: int) -> bytes:
    """A PNG of noise, side x side grey pixels, so about side * side bytes long."""
    rows = b"".join(b"\0" + bytes((x * 167 + y * y * 59) % 251 for x in range(side)) for y in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    framed = (
        struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data)) for tag, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def dns(host: Host, *options: str) -> Process:
    """dnsmasq on all the host's addresses with these options, and nothing from the machine's own files."""
    own = ["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root", "--pid-file="]
    return host.start(["dnsmasq", *own, *options]).wait_for_port(53, "udp")


def ssh(lab: Lab, host: Host) -> list[str]:
    """sshd on the host with keys made on the spot; gives the options with which ssh and scp log in as root."""
    folder = lab.scratch / f"{host.name}-ssh"
    folder.mkdir()
    for key in ("host", "user"):
        run_outside(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", f"{folder}/{key}"])
    config = folder / "sshd_config"
    config.write_text(SSHD.format(folder=folder))
    daemon = [shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", str(config)]
    host.start(with_mounts("mount -t tmpfs tmpfs /run; mkdir -m 755 /run/sshd", daemon)).wait_for_port(22)
    known = folder / "known_hosts"
    return ["-F", "none", "-i", f"{folder}/user", "-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=no"]


def ftp(lab: Lab, host: Host, settings: str = "") -> Path:
    """vsftpd on the host for anonymous transfers, with further settings; gives the folder that it serves."""
    folder = lab.scratch / f"{host.name}-ftp"
    folder.mkdir(mode=0o755)
    config = lab.scratch / f"{host.name}-vsftpd.conf"
    config.write_text(VSFTPD.format(folder=folder) + settings)
    daemon = with_mounts("mount -t tmpfs tmpfs /run; mkdir -p /run/vsftpd/empty", ["vsftpd", str(config)])
    host.start(daemon).wait_for_port(21)
    return folder


def run_outside(argv: Sequence[str]) -> str:
    """Run a command that touches no network, and give what it says; an error shows that too."""
    return subprocess.run(argv, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
