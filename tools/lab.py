"""A network lab on one machine: hosts in network namespaces of their own, joined by switches, with no route out.

    with Lab() as lab:
        scanner = lab.host("scanner", "192.0.2.10/24")
        lab.host("target", "192.0.2.20/24")
        with scanner.capture(Path("scan.pcap")):
            scanner.run(["nmap", "-sS", "192.0.2.20"])

A switch is a namespace that holds a bridge; a host is a namespace with a veth to each switch that it joins. Nothing is
made in the machine's own namespace, only documentation addresses are allowed (RFC 5737, RFC 3849), and no default
route exists, so that whatever runs inside stays inside. Offloads are off: frames have the size and the checksums that
a wire would show. The lab needs root. On leaving it, in whatever way, its namespaces and all that runs in them end.
"""

import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, netns
from pyroute2.ethtool.ioctl import IoctlEthtool

DOCUMENTATION = tuple(
    ip_network(prefix) for prefix in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)
NOBODY = "02:00:00:ff:ff:ff"
"""A MAC address that no host has: frames to it are flooded by the switch, and every host ignores them."""
BUFFER_KIB = "16384"
"""What the kernel may hold for tcpdump: divided by the snaplen, which is why that is to be no larger than it must."""
TABLE_LOCAL = 255
LISTEN = "0A"
UNBOUND_UDP = "07"
OFFLOADS = (
    "rx-checksumming",
    "tx-checksumming",
    "scatter-gather",
    "tcp-segmentation-offload",
    "generic-segmentation-offload",
    "generic-receive-offload",
)
HOST_SETTINGS = {
    "ipv4/ip_forward": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/ping_group_range": "0 2147483647",
    "ipv6/conf/default/accept_ra": "0",
    "ipv6/conf/default/autoconf": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/default/router_solicitations": "0",
    "ipv6/conf/default/addr_gen_mode": "1",
}
"""Under /proc/sys/net: no forwarding, and none of what IPv6 says unasked."""


class Process:
    """A program that runs in a host until it is stopped, at the latest by the lab."""

    def __init__(self, popen: subprocess.Popen, log: Path):
        self._popen = popen
        self._log = log
        self.pid = popen.pid

    def wait_for_port(self, port: int, proto: str = "tcp", timeout: float = 30.0) -> "Process":
        """Return once someone in the process's host listens on the port; RuntimeError if the process ends first."""
        deadline = time.monotonic() + timeout
        while not self._is_listening(port, proto):
            if self._has_ended() or time.monotonic() > deadline:
                raise RuntimeError(f"{self._popen.args} does not listen on {proto} {port}:\n{self._log.read_text()}")
        return self

    def stop(self) -> None:
        """End the process and its group, gently where it heeds SIGTERM."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self.pid, sign)
            with suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout=5)
                return

    def _has_ended(self) -> bool:
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout=0.02)
        return self._popen.returncode is not None

    def _is_listening(self, port: int, proto: str) -> bool:
        wanted = LISTEN if proto == "tcp" else UNBOUND_UDP
        for table in (proto, f"{proto}6"):
            with suppress(OSError):
                rows = [line.split() for line in Path(f"/proc/{self.pid}/net/{table}").read_text().splitlines()[1:]]
                if any(row[3] == wanted and int(row[1].rsplit(":", 1)[1], 16) == port for row in rows):
                    return True
        return False


class Capture:
    """tcpdump on one interface of a host: a context manager that holds every packet seen between enter and leave.

    Made by Host.capture. On leaving, the file is whole; RuntimeError if the kernel dropped packets of it.
    """

    def __init__(self, host: "Host", path: Path, snaplen: int, bpf: str, interface: str):
        self._host = host
        self._path = path
        self._argv = ["tcpdump", "-i", interface, "-n", "-U", "--immediate-mode", "-B", BUFFER_KIB]
        self._argv += ["-s", str(snaplen), "-w", "-"]
        self._argv += [bpf] if bpf else []

    def __enter__(self) -> "Capture":
        with self._path.open("wb") as savefile, self._host.inside():
            self._tcpdump = subprocess.Popen(
                self._argv, stdout=savefile, stderr=subprocess.PIPE, text=True, start_new_session=True
            )
        try:
            self._read_until("listening on")
        except BaseException:
            self._end(signal.SIGKILL)
            raise
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            if kind is None:
                self._drain()
        finally:
            self._end(signal.SIGINT)

    def _drain(self) -> None:
        """Wait until tcpdump has written all that the kernel counted; RuntimeError if the kernel dropped any."""
        captured, received = -1, 0
        while captured != received:
            self._tcpdump.send_signal(signal.SIGUSR1)
            words = self._read_until("packets captured").replace("tcpdump: ", "").split()
            captured, received, dropped = (int(word) for word in words if word.isdigit())
            if dropped:
                raise RuntimeError(f"the kernel dropped {dropped} packets of {self._path}")

    def _read_until(self, text: str) -> str:
        assert self._tcpdump.stderr
        said = []
        for line in self._tcpdump.stderr:
            said.append(line)
            if text in line or text.replace("packets", "packet") in line:
                return line
        raise RuntimeError(f"tcpdump ended early: {''.join(said)}")

    def _end(self, sign: int) -> None:
        self._tcpdump.send_signal(sign)
        self._tcpdump.communicate()


class Host:
    """A namespace with addresses; made by Lab.host.

    Its first interface is eth0, the next that `join` makes eth1, and so on; the loopback is up.
    """

    def __init__(self, lab: "Lab", name: str):
        self.name = name
        self._lab = lab
        self._log = lab.scratch / f"{name}.log"
        self.namespace = f"lab-{os.getpid()}-{id(lab) & 0xFFFF:x}-{name}"
        """For `ip netns exec` from another terminal, while the lab lasts."""
        self._interfaces = 0
        netns.create(self.namespace)
        self._fd = os.open(f"/run/netns/{self.namespace}", os.O_RDONLY | os.O_CLOEXEC)
        self.configure(HOST_SETTINGS)
        with self._route() as route:
            route.link("set", index=1, state="up")

    @contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread, and what it starts, is in this host."""
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            netns.setns(self._fd)
            yield
        finally:
            netns.setns(here)
            os.close(here)

    def configure(self, settings: dict[str, str]) -> None:
        """Write settings under /proc/sys/net of this host: {"ipv4/ip_forward": "1"} makes a router of it."""
        with self.inside():
            for name, value in settings.items():
                Path("/proc/sys/net", name).write_text(value)

    def join(self, switch: str, *addresses: str) -> str:
        """Plug into the switch with these interface addresses ("192.0.2.10/24"); gives the new interface's name.

        ValueError for an address that is not one of documentation. An interface without an IPv6 address has no IPv6.
        """
        interfaces = [ip_interface(_documented(address)) for address in addresses]
        has_ipv6 = any(interface.version == 6 for interface in interfaces)
        self.configure({"ipv6/conf/default/disable_ipv6": "0" if has_ipv6 else "1"})
        name = f"eth{self._interfaces}"
        self._interfaces += 1
        mac = self._lab.switch(switch).plug(self.namespace, name)
        with self._route() as route, closing(IoctlEthtool(name)) as ethtool:
            for offload in OFFLOADS:
                ethtool.set_offload_flag(offload, False)
            index = route.link_lookup(ifname=name)[0]
            route.link("set", index=index, address=mac, state="up")
            for interface in interfaces:
                route.addr("add", index=index, address=str(interface.ip), prefixlen=interface.network.prefixlen)
        return name

    def route(self, prefix: str, via: str | None = None, interface: str = "eth0") -> None:
        """Reach the prefix through a router (the address `via`), or directly on the interface's switch."""
        with self._route() as route:
            how = {"gateway": via} if via else {"oif": route.link_lookup(ifname=interface)[0], "scope": "link"}
            route.route("add", dst=_documented(prefix), **how)

    def answer_for(self, prefix: str) -> None:
        """Be every address of an IPv4 prefix, ARP included: one host then plays a whole network of servers."""
        with self._route() as route:
            route.route("add", dst=_documented(prefix), oif=1, type="local", scope="host", table=TABLE_LOCAL)

    def never_reach(self, addresses: Iterable[str], interface: str = "eth0") -> None:
        """Let packets to these neighbours vanish: they are sent, and no one answers, ARP and NDP included."""
        with self._route() as route:
            index = route.link_lookup(ifname=interface)[0]
            for address in addresses:
                ip_address(_documented(address))
                route.neigh("replace", dst=address, lladdr=NOBODY, ifindex=index, state="permanent")

    def run(
        self, argv: Sequence[str], timeout: float = 60.0, check: bool = True, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess:
        """Run a program in this host to its end: its output as text.

        CalledProcessError where it fails, unless `check` is False; TimeoutExpired after `timeout` seconds.
        """
        with self.inside():
            return subprocess.run(
                argv, timeout=timeout, check=check, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=env
            )

    def start(self, argv: Sequence[str]) -> Process:
        """Start a program in this host, and leave it running; its output goes to a log of the host."""
        with self.inside(), self._log.open("ab") as log:
            popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        process = Process(popen, self._log)
        self._lab.on_exit(process.stop)
        return process

    def popen(self, argv: Sequence[str], **options: Any) -> subprocess.Popen:
        """Start a program in this host for a caller who reads what it says: text, in pipes, unless told otherwise.

        Takes the options of subprocess.Popen. What has not ended by then is killed with the lab.
        """
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with self.inside():
            popen = subprocess.Popen(argv, start_new_session=True, **(pipes | options))
        self._lab.on_exit(partial(_end, popen))
        return popen

    def capture(self, path: Path, snaplen: int = 262144, bpf: str = "", interface: str = "eth0") -> Capture:
        """What the interface sends and receives, as a pcap file, while the context lasts.

        `snaplen`: bytes kept of a packet; give one where much passes, as the kernel keeps 16 MiB, in whole snaplens.
        `bpf`: a filter of tcpdump's. A switch's interface "bridge" sees all that passes, as a span port does.
        """
        return Capture(self, path, snaplen, bpf, interface)

    def remove(self) -> None:
        """End what still runs in the namespace, which only descendants of ours can, and the namespace itself."""
        ours = os.fstat(self._fd).st_ino
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (process / "ns/net").stat().st_ino == ours:
                    _kill(int(process.name))
        os.close(self._fd)
        netns.remove(self.namespace)

    @contextmanager
    def _route(self) -> Iterator[IPRoute]:
        with self.inside(), IPRoute() as route:
            yield route


class Switch(Host):
    """A namespace with a bridge: forwards frames, has no address, says nothing itself."""

    def __init__(self, lab: "Lab", name: str, number: int):
        super().__init__(lab, f"switch-{name}")
        self._number = number
        self._ports = 0
        self.configure({"ipv6/conf/default/disable_ipv6": "1"})
        with self._route() as route:
            route.link("add", ifname="bridge", kind="bridge", br_mcast_snooping=0)
            self._bridge = route.link_lookup(ifname="bridge")[0]
            route.link("set", index=self._bridge, state="up")

    def plug(self, namespace: str, interface: str) -> str:
        """Put an interface into a host's namespace with its other end in the bridge; gives the MAC meant for it."""
        self._ports += 1
        port = f"port{self._ports}"
        with self._route() as route:
            peer = {"ifname": interface, "net_ns_fd": namespace}
            route.link("add", ifname=port, kind="veth", peer=peer)
            route.link("set", index=route.link_lookup(ifname=port)[0], master=self._bridge, state="up")
        return f"02:00:00:00:{self._number:02x}:{self._ports:02x}"


class Lab:
    """Hosts and switches for as long as the context lasts.

    `scratch`, a folder for configuration, keys and logs, and all processes go with it.
    """

    def __enter__(self) -> "Lab":
        self._stack = ExitStack()
        self.scratch = Path(tempfile.mkdtemp(prefix="lab-"))
        """A folder for configuration, keys and logs, gone with the lab."""
        self.scratch.chmod(0o755)
        self._stack.callback(shutil.rmtree, self.scratch, ignore_errors=True)
        self._switches: dict[str, Switch] = {}
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def on_exit(self, callback: Callable[[], None]) -> None:
        """Call back when the lab ends: the last told, the first called."""
        self._stack.callback(callback)

    def host(self, name: str, *addresses: str, switch: str = "lan") -> Host:
        """A new host, plugged into the switch with these interface addresses, as by Host.join."""
        host = Host(self, name)
        self.on_exit(host.remove)
        host.join(switch, *addresses)
        return host

    def switch(self, name: str) -> Switch:
        """The switch of that name, made when it is first asked for."""
        if name not in self._switches:
            switch = self._switches[name] = Switch(self, name, len(self._switches))
            self.on_exit(switch.remove)
        return self._switches[name]


def _end(popen: subprocess.Popen) -> None:
    """Kill the process if it is still there, and let go of its pipes."""
    with popen:
        popen.kill()


def _kill(pid: int) -> None:
    """Kill the process and wait until it is dead."""
    process = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
        select.select([process], [], [])
    finally:
        os.close(process)


def _documented(prefix: str) -> str:
    """The address or prefix as given; ValueError unless it lies within one reserved for documentation."""
    network = ip_interface(prefix).network
    if not any(network.version == known.version and network.subnet_of(known) for known in DOCUMENTATION):
        raise ValueError(f"{prefix} is not a documentation address (RFC 5737, RFC 3849)")
    return prefix
