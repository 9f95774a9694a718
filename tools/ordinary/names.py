"""Resolvers and what asks them: name servers that are dead, answers that come late, questions inside TLS."""

import services
from lab import Host, Lab
from scenario import Recording, ordinary

from ordinary.network import CLIENT, RESOLVER, far, inside, near, outside

ZONES = 60
UNBOUND = """
server:
  interface: 0.0.0.0
  interface-automatic: {automatic}
  do-ip6: no
  access-control: 0.0.0.0/0 allow
  chroot: ""
  username: ""
  directory: {folder}
  pidfile: ""
  use-syslog: no
  do-daemonize: no
  module-config: "iterator"
  num-threads: 1
  do-not-query-localhost: no
{lines}
remote-control:
  control-enable: no
"""


def unbound(lab: Lab, host: Host, lines: list[str], port: int = 53, automatic: bool = False) -> None:
    """unbound on all the host's addresses with these lines of configuration."""
    config = lab.scratch / f"{host.name}-unbound.conf"
    every = UNBOUND.format(folder=lab.scratch, lines="\n".join(lines), automatic="yes" if automatic else "no")
    config.write_text(every)
    host.start(["unbound", "-c", str(config)]).wait_for_port(port, "udp" if port == 53 else "tcp")


def authority(lab: Lab, host: Host) -> None:
    """A server for all zones, on every address that the host answers for."""
    names = [f'local-data: "www.zone{n:02}.example. IN A 198.51.100.{n}"' for n in range(1, ZONES + 1)]
    unbound(lab, host, ['local-zone: "example." static', *names], automatic=True)


@ordinary(
    "unbound (60 zones with two servers each); dig @192.0.2.53 ... by 12 clients",
    "Of the name servers in the world many are down at any time; a resolver asks the next, and remembers.",
    snaplen=112,
)
def resolver_dead_authorities(lab: Lab, recording: Recording) -> None:
    """A resolver asks the servers of 60 zones for 12 clients; 24 of the 120 never answer, six refuse."""
    world, host = outside(lab, dead=far(1, 24), refusing=far(25, 30)), inside(lab, "resolver", RESOLVER)
    authority(lab, world)
    zones = [
        f'stub-zone:\n  name: "zone{n:02}.example"\n  stub-addr: 198.51.100.{n}\n  stub-addr: 203.0.113.{n}'
        for n in range(1, ZONES + 1)
    ]
    unbound(lab, host, ["  qname-minimisation: no", *zones])
    clients = lab.host("clients", f"{CLIENT}/24", *(f"192.0.2.{n}/24" for n in range(101, 112)))
    questions = [f"www.zone{n:02}.example" for n in range(1, ZONES + 1)]
    with recording.at(host):
        for n in range(12):
            names = questions[n * 5 : n * 5 + 5]
            clients.run(["dig", f"@{RESOLVER}", "-b", f"192.0.2.{100 + n or 20}" if n else CLIENT, "+tries=2", *names])


@ordinary(
    "dnsmasq --all-servers --server=198.51.100.53 --server=203.0.113.53 (dnsdist, late); dig ... each half second",
    "A forwarder asks two resolvers and shuts the socket at the first answer: the second meets a closed port.",
    snaplen=128,
)
def late_answers(lab: Lab, recording: Recording) -> None:
    """A forwarder asks two resolvers 45 times; the second answers 60 ms later, and is told: port unreachable."""
    world, host = outside(lab), inside(lab, "forwarder", RESOLVER)
    host.configure({"ipv4/icmp_ratelimit": "0"})
    services.dns(world, "--bind-interfaces", "--listen-address=198.51.100.53", "--address=/example/198.51.100.80")
    config = lab.scratch / "dnsdist.conf"
    config.write_text(
        'setLocal("203.0.113.53:53")\nnewServer("198.51.100.53")\naddAction(AllRule(), DelayAction(60))\n'
        'setACL({"0.0.0.0/0"})\nsetSecurityPollSuffix("")\n'
    )
    world.start(["dnsdist", "--supervised", "-C", str(config), "-u", "root", "-g", "root"])
    services.dns(host, "--all-servers", "--cache-size=0", "--server=198.51.100.53", "--server=203.0.113.53")
    client = inside(lab)
    each = 'for n in $(seq 45); do dig +short @192.0.2.53 "host$n.example"; sleep 0.3; done'
    with recording.at(host, bpf="net 198.51.100.0/24 or net 203.0.113.0/24"):
        client.run(["sh", "-ec", each])


@ordinary(
    "unbound (forward-tls-upstream to 40 servers); dig @192.0.2.53 ...",
    "Forwarders to public resolvers by DNS over TLS carry long lists, of which many are gone.",
    snaplen=80,
)
def dns_over_tls(lab: Lab, recording: Recording) -> None:
    """A forwarder asks 40 resolvers by DNS over TLS; ten never answer, four refuse."""
    world, host = outside(lab, dead=far(1, 10), refusing=far(11, 14)), inside(lab, "forwarder", RESOLVER)
    services.certificate(lab.scratch)
    server = ["interface: 0.0.0.0@853", f"tls-service-key: {lab.scratch}/key.pem", "tls-port: 853"]
    server += [f"tls-service-pem: {lab.scratch}/cert.pem", 'local-zone: "example." redirect']
    unbound(lab, world, [*server, 'local-data: "example. IN A 198.51.100.80"'], port=853)
    forward = [f"  forward-addr: {address}@853" for address in (*near(1, 26), *far(1, 14))]
    unbound(lab, host, ["forward-zone:", '  name: "."', "  forward-tls-upstream: yes", *forward])
    client = inside(lab)
    ask = "for n in $(seq 70); do dig +short +tries=1 +time=2 @192.0.2.53 host$n.example & sleep 0.15; done; wait"
    with recording.at(host, bpf="port 853"):
        client.run(["sh", "-ec", ask], check=False, timeout=120)


KERBEROS = """
[libdefaults]
  default_realm = EXAMPLE
  dns_lookup_kdc = false
[realms]
  EXAMPLE = {{
{kdcs}
  }}
"""
KDC = """
[realms]
  EXAMPLE = {{
    database_name = {folder}/principal
    key_stash_file = {folder}/stash
    acl_file = {folder}/acl
    kdc_ports = 88
    kdc_tcp_ports = 88
  }}
"""


@ordinary(
    "krb5kdc; kinit (twelve PCs; of six controllers on the list, four are absent)",
    "Lists of domain controllers outlive these: each log-in asks the absent ones first, by UDP and then by TCP.",
)
def domain_log_ins(lab: Lab, recording: Recording) -> None:
    """Twelve PCs log in to a domain; the first four of six controllers never answer, or refuse."""
    world = outside(lab, dead=far(1, 3), refusing=far(4, 4))
    folder = lab.scratch / "kdc"
    folder.mkdir()
    client, server = lab.scratch / "krb5.conf", folder / "kdc.conf"
    client.write_text(KERBEROS.format(kdcs="\n".join(f"    kdc = {each}" for each in [*far(1, 4), *near(1, 2)])))
    server.write_text(KDC.format(folder=folder))
    env = {"PATH": "/usr/bin:/usr/sbin:/bin", "KRB5_CONFIG": str(client), "KRB5_KDC_PROFILE": str(server)}
    world.run(["kdb5_util", "create", "-s", "-r", "EXAMPLE", "-P", "lab"], env=env)
    world.run(["kadmin.local", "-q", "addprinc -pw lab user"], env=env)
    kdc = ["env", *(f"{name}={value}" for name, value in env.items()), "krb5kdc", "-n", "-P", str(folder / "pid")]
    world.start(kdc).wait_for_port(88, "udp")
    pcs = [inside(lab, f"pc{n}", f"192.0.2.{60 + n}") for n in range(12)]
    log_in = "echo lab | kinit -c FILE:$0 user"
    with recording.at(lab.switch("lan"), interface="bridge"):
        asking = [pc.popen(["sh", "-c", log_in, str(lab.scratch / f"{pc.name}.cc")], env=env) for pc in pcs]
        for each in asking:
            each.wait(timeout=120)
