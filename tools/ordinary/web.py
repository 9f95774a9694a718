"""Browsers, downloads and crawlers, some of whose servers are gone."""

import base64
import hashlib
import subprocess

import services
from everyday import CHROMIUM
from lab import Host, Lab
from scenario import Recording, graded, ordinary

from ordinary.network import RESOLVER, far, firewall, for_each, inside, near, outside, with_resolver

FETCH = "curl -sS -o /dev/null -m 4"
CHROME = CHROMIUM.replace("--disable-quic ", "").replace("--ignore-certificate-errors ", "")


def names(lab: Lab, records: dict[str, str]) -> None:
    """The resolver of the house, which knows these names; several addresses of one are joined by commas."""
    host = lab.host("resolver", f"{RESOLVER}/24")
    services.dns(host, *(f"--host-record={name},{addresses}" for name, addresses in records.items()))


def page(links: list[str]) -> str:
    """A page that shows these pictures."""
    return "".join(f'<img src="{link}">\n' for link in links)


def chromium(lab: Lab, client: Host, url: str, *options: str, quic: bool = False) -> None:
    """Load a page in Chromium with a profile of its own."""
    base = CHROME if quic else CHROMIUM
    argv = [*base.split(), f"--user-data-dir={lab.scratch}/profile", *options, url]
    client.run(with_resolver(lab, argv), env={"PATH": "/usr/bin:/bin", "HOME": str(lab.scratch)})


@ordinary(
    "chromium --headless http://www.example/",
    "A page of a newspaper names dozens of hosts of advertisers, and a filter at the router lets some of them vanish.",
    snaplen=80,
)
def browser_dead_ads(lab: Lab, recording: Recording) -> None:
    """A page with pictures from 50 hosts and with 28 advertisers that never answer."""
    world, client = outside(lab, dead=far(1, 28)), inside(lab)
    pictures = {f"img{n:02}.example": address for n, address in enumerate(near(101, 150))}
    ads = {f"ad{n:02}.example": address for n, address in enumerate(far(1, 28))}
    folder = services.web(lab, world, [80])
    (folder / "index.html").write_text(page([f"http://{name}/1.png" for name in {**pictures, **ads}]))
    names(lab, {"www.example": "198.51.100.1", **pictures, **ads})
    with recording.at(client):
        chromium(lab, client, "http://www.example/")


@ordinary(
    "chromium --headless https://www.example/ (servers say alt-svc: h3)",
    "Browsers try HTTP/3 wherever a server offers it, and many firewalls let UDP 443 vanish; TCP works everywhere.",
    snaplen=80,
)
def quic_blocked(lab: Lab, recording: Recording) -> None:
    """A shop with pictures from 36 hosts that announce HTTP/3, behind a firewall that drops UDP 443."""
    world, client = outside(lab), inside(lab)
    extra = "add_header alt-svc 'h3=\":443\"; ma=86400' always; add_header cache-control no-store; keepalive_timeout 0;"
    folder = services.web(lab, world, [80], tls=[443], extra=extra)
    firewall(world, "udp dport 443 drop")
    shops = {f"img{n:02}.example": address for n, address in enumerate(near(101, 136))}
    again = "if (!this.title) {this.title = 1; this.src += '?again'}"
    pictures = "".join(f'<img src="https://{name}/1.png" onload="{again}">\n' for name in shops)
    (folder / "index.html").write_text(pictures)
    names(lab, {"www.example": "198.51.100.1", **shops})
    trust = f"--ignore-certificate-errors-spki-list={key_hash(folder)}"
    with recording.at(client):
        chromium(lab, client, "https://www.example/", trust, quic=True)


def key_hash(folder: object) -> str:
    """The hash of the certificate's public key, by which Chromium can be told to trust it."""
    public = subprocess.run(
        ["openssl", "x509", "-in", f"{folder}/cert.pem", "-pubkey", "-noout"], check=True, capture_output=True
    ).stdout
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-outform", "der"], input=public, check=True, capture_output=True
    )
    return base64.b64encode(hashlib.sha256(der.stdout).digest()).decode()


def dual_stack(lab: Lab, recording: Recording, sites: int, dead6: int) -> None:
    """A client with both families fetches a page from each site; of that many the IPv6 address never answers."""
    world, client = outside(lab, more=["2001:db8::1/64"]), inside(lab, more=["2001:db8::20/64"])
    world.run(["ip", "-6", "route", "add", "local", "2001:db8:1::/64", "dev", "lo"])
    client.run(["ip", "-6", "route", "add", "2001:db8:1::/64", "via", "2001:db8::1"])
    services.web(lab, world, [80])
    table = "add table ip6 lab\nadd chain ip6 lab input { type filter hook input priority 0; }\n"
    for n in range(1, dead6 + 1):
        table += f"add rule ip6 lab input ip6 daddr 2001:db8:1::{n:x} drop\n"
    world.run(["nft", table])
    names(lab, {f"site{n}.example": f"198.51.100.{n},2001:db8:1::{n:x}" for n in range(1, sites + 1)})
    urls = [f"http://site{n}.example/" for n in range(1, sites + 1)]
    with recording.at(client):
        client.run(with_resolver(lab, for_each(urls, f"{FETCH} $1")))


@ordinary(
    "curl http://siteNN.example/ (62 sites, both families)",
    "Where a site's IPv6 address is dead, a client waits a fifth of a second and takes IPv4: nobody notices for years.",
)
def happy_eyeballs(lab: Lab, recording: Recording) -> None:
    """A client with both families visits 62 sites; 28 of their IPv6 addresses never answer."""
    dual_stack(lab, recording, sites=62, dead6=28)


@ordinary(
    "aria2c -j 10 -i list (each file with two mirrors); curl -Z --config list",
    "A list of mirrors ages: a download program tries the next where one does not answer.",
    snaplen=80,
)
def parallel_downloads(lab: Lab, recording: Recording) -> None:
    """60 files from 73 mirrors of which 21 never answer and seven refuse, by aria2 and then by curl, ten at once."""
    world, client = outside(lab, dead=far(1, 21), refusing=far(22, 28)), inside(lab)
    services.web(lab, world, [80])
    gone, files = far(1, 28), lab.scratch / "list"
    lines = [f"http://{gone[n % 28]}/f{n}.png\thttp://198.51.100.{n % 45 + 1}/f{n}.png" for n in range(32)]
    lines += [f"http://198.51.100.{n % 45 + 1}/f{n}.png" for n in range(32, 60)]
    files.write_text("\n".join(lines))
    options = ["--connect-timeout=3", "--max-tries=1", "--no-conf", f"--dir={lab.scratch}", "-q", "-j", "10"]
    again = [url for n in range(45) for url in ("-o", "/dev/null", f"http://198.51.100.{n + 1}/g.png")]
    dead = [url for address in gone for url in ("-o", "/dev/null", f"http://{address}/g.png")]
    with recording.at(client):
        client.run(["aria2c", *options, "-i", str(files)], check=False)
        client.run(["curl", "-sS", "-Z", "--parallel-max", "10", "--connect-timeout", "3", *again, *dead], check=False)


@ordinary(
    "wget --spider --recursive --level 1 --span-hosts http://198.51.100.1/",
    "Whoever keeps a list of links checks it: of old links, a third lead nowhere.",
)
def link_checker(lab: Lab, recording: Recording) -> None:
    """The links of a page to 60 hosts are checked: 18 never answer, five refuse, four are unreachable."""
    dead, refusing, unreachable = far(1, 18), far(19, 23), far(24, 27)
    world, client = outside(lab, dead, refusing, unreachable), inside(lab)
    folder = services.web(lab, world, [80])
    links = [f'<a href="http://{address}/p{n}.html">x</a>' for n, address in enumerate([*near(2, 34), *far(1, 27)])]
    (folder / "index.html").write_text("\n".join(links))
    for n in range(60):
        (folder / f"p{n}.html").write_text("<html></html>")
    crawl = ["wget", "-q", "--spider", "-r", "-l", "1", "-H", "-T", "2", "-t", "1", "-e", "robots=off"]
    with recording.at(client):
        client.run([*crawl, "-P", str(lab.scratch), "http://198.51.100.1/"], check=False, timeout=120)


@ordinary(
    "ab -n 120 -c 12 http://198.51.100.80/; ab -n 60 -c 12 http://198.51.100.80:81/ (where nothing listens)",
    "A load test opens hundreds of connections, all to one port of one host, whether or not that answers.",
    snaplen=80,
)
def load_test(lab: Lab, recording: Recording) -> None:
    """A load test of one web server, and another of a port of it that refuses."""
    world, client = outside(lab), inside(lab)
    services.web(lab, world, [80])
    with recording.at(client):
        client.run(["ab", "-q", "-n", "120", "-c", "12", "http://198.51.100.80/"])
        client.run(["ab", "-q", "-r", "-n", "60", "-c", "12", "http://198.51.100.80:81/"], check=False)


@ordinary(
    "tinyproxy; curl -x 192.0.2.20:8888 http://... (by many at once)",
    "One proxy visits for a whole office: the dead sites of all are its own, and so are the many that work.",
    snaplen=80,
)
def office_proxy(lab: Lab, recording: Recording) -> None:
    """A proxy fetches from 110 sites for its users, seen on its outside; 30 of the sites never answer or refuse."""
    world, client = outside(lab, dead=far(1, 20), refusing=far(21, 30)), inside(lab, "proxy")
    services.web(lab, world, [80])
    user = lab.host("user", "192.0.2.200/24")
    config = lab.scratch / "tinyproxy.conf"
    config.write_text("Port 8888\nListen 192.0.2.20\nTimeout 20\nMaxClients 100\nAllow 192.0.2.0/24\nLogLevel Error\n")
    client.start(["tinyproxy", "-d", "-c", str(config)]).wait_for_port(8888)
    urls = [
        f"http://{address}/"
        for pair in zip(near(1, 110), far(1, 30) * 4, strict=False)
        for address in dict.fromkeys(pair)
    ]
    with recording.at(client, bpf="not port 8888"):
        user.run(for_each(dict.fromkeys(urls), f"{FETCH} -x 192.0.2.20:8888 $1", at_once=12))


@ordinary(
    "curl http://siteNN.example/ (40 sites, both families), where IPv6 leads nearly nowhere",
    "A router announces an IPv6 that leads nearly nowhere: most first tries fail, so low is right; IPv4 does the work.",
    graded("low", "address_scan", "connect", "2001:db8::20", port=80),
)
def dead_ipv6(lab: Lab, recording: Recording) -> None:
    """A client with both families visits 40 sites; of their IPv6 addresses 32 never answer."""
    dual_stack(lab, recording, sites=40, dead6=32)
