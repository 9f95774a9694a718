"""What these scenarios share: clients next to one machine that is all the rest of the world, dead hosts included."""

from collections.abc import Iterable, Sequence

from lab import Host, Lab
from services import with_mounts

CLIENT, GATEWAY, RESOLVER = "192.0.2.20", "192.0.2.1", "192.0.2.53"
OUTSIDE = ("198.51.100.0/24", "203.0.113.0/24")


def near(first: int, last: int) -> list[str]:
    """The addresses of the first network outside, from the first to the last."""
    return [f"198.51.100.{number}" for number in range(first, last + 1)]


def far(first: int, last: int) -> list[str]:
    """The addresses of the second network outside, from the first to the last."""
    return [f"203.0.113.{number}" for number in range(first, last + 1)]


def outside(
    lab: Lab,
    dead: Iterable[str] = (),
    refusing: Iterable[str] = (),
    unreachable: Iterable[str] = (),
    more: Sequence[str] = (),
) -> Host:
    """A router that is itself every address outside, but for those that never answer, refuse, or are not there."""
    world = lab.host("world", f"{GATEWAY}/24", *more)
    for prefix in OUTSIDE:
        world.answer_for(prefix)
    world.configure({"ipv4/icmp_ratelimit": "0"})
    firewall(world, *(f"ip daddr {address} drop" for address in dead), hook="prerouting", priority=-300)
    rules = []
    for address in refusing:
        rules += [f"ip daddr {address} meta l4proto tcp reject with tcp reset", f"ip daddr {address} reject"]
    rules += [f"ip daddr {address} reject with icmp host-unreachable" for address in unreachable]
    firewall(world, *rules)
    return world


def inside(lab: Lab, name: str = "client", address: str = CLIENT, more: Sequence[str] = ()) -> Host:
    """A host whose world lies behind the router of `outside`."""
    host = lab.host(name, f"{address}/24", *more)
    for prefix in OUTSIDE:
        host.route(prefix, via=GATEWAY)
    return host


def firewall(host: Host, *rules: str, hook: str = "input", priority: int = 0) -> None:
    """Put these rules of nftables where packets come in, pass, or leave."""
    chain = f"add chain ip lab {hook} {{ type filter hook {hook} priority {priority}; }}"
    host.run(["nft", "\n".join(["add table ip lab", chain, *(f"add rule ip lab {hook} {rule}" for rule in rules)])])


def let_through(host: Host) -> None:
    """Take all rules of the firewall away."""
    host.run(["nft", "flush ruleset"])


def with_resolver(lab: Lab, argv: Sequence[str], resolver: str = RESOLVER) -> list[str]:
    """The command, with a resolv.conf of its own."""
    resolv, hosts = lab.scratch / "resolv.conf", lab.scratch / "hosts"
    resolv.write_text(f"nameserver {resolver}\n")
    hosts.write_text("127.0.0.1 localhost\n")
    return with_mounts(f"mount --bind {resolv} /etc/resolv.conf; mount --bind {hosts} /etc/hosts", argv)


def for_each(items: Iterable[object], command: str, at_once: int = 8) -> list[str]:
    """A shell command for each of the items, as $1, some at once; none is asked whether it went well."""
    words = [str(item) for item in items]
    script = f"printf '%s\\n' \"$@\" | xargs -d '\\n' -P {at_once} -n 1 sh -c '{command} || true' sh"
    return ["sh", "-ec", script, "sh", *words]
