"""Calls and streams: SIP, RTP that goes one way, groups of listeners, and servers that tell one's own address."""

from lab import Lab
from scenario import Recording, ordinary

from ordinary.network import CLIENT, far, firewall, for_each, inside, near, outside

TONE = "ffmpeg -v error -re -f lavfi -i sine=f=400:r=8000"


@ordinary(
    "ffmpeg -f lavfi -i sine -c:a pcm_mulaw -f rtp rtp://198.51.100.9:PORT (32 of them)",
    "A recorder of calls is sent a stream a call, to a port each, and says nothing.",
    snaplen=64,
)
def rtp_one_way(lab: Lab, recording: Recording) -> None:
    """32 streams of RTP with their RTCP, each to two ports of one recorder that never sends."""
    world, host = outside(lab), inside(lab, "exchange")
    firewall(world, "udp dport 20000-20100 drop")
    streams = [f"-c:a pcm_mulaw -t 8 -f rtp rtp://198.51.100.9:{20000 + 2 * n}" for n in range(32)]
    with recording.at(host):
        host.run([*TONE.split(), *" ".join(streams).split()], check=False)


@ordinary(
    "ffmpeg -f rtp rtp://198.51.100.9:PORT (20 of them), where no one listens at last",
    "When a call ends the other side shuts its port, and the last packets are told that it is unreachable.",
    snaplen=64,
)
def rtp_ended(lab: Lab, recording: Recording) -> None:
    """20 streams of RTP to one host, whose ports are closed while they still run."""
    world, host = outside(lab), inside(lab, "exchange")
    firewall(world, "udp dport 20000-20100 drop")
    streams = [f"-c:a pcm_mulaw -t 9 -f rtp rtp://198.51.100.9:{20000 + 2 * n}" for n in range(20)]
    with recording.at(host):
        running = host.popen([*TONE.split(), *" ".join(streams).split()])
        host.run(["sleep", "7"])
        world.run(["nft", "flush ruleset"])
        running.wait(timeout=30)


@ordinary(
    "ffmpeg -f mpegts udp://233.252.0.N:5000 (28 channels)",
    "A sender of television to groups is never answered: whoever wants a channel joins its group.",
    snaplen=64,
)
def multicast_channels(lab: Lab, recording: Recording) -> None:
    """28 channels, each to a multicast group of its own, for some seconds."""
    host = lab.host("sender", f"{CLIENT}/24")
    host.run(["ip", "route", "add", "233.252.0.0/24", "dev", "eth0"])
    channels = [f"-c:a mp2 -b:a 32k -t 6 -f mpegts udp://233.252.0.{n}:5000?pkt_size=1316" for n in range(1, 29)]
    with recording.at(host):
        host.run([*TONE.split(), *" ".join(channels).split()], check=False)


@ordinary(
    "sipsak -s sip:HOST:5060 -l 5060 (44 trunks, twice)",
    "An exchange asks the far end of each trunk by OPTIONS whether it is there, for ever, from port 5060.",
    snaplen=96,
)
def sip_options(lab: Lab, recording: Recording) -> None:
    """44 trunks are asked by OPTIONS, twice; 14 never answer, four refuse."""
    world, host = outside(lab, dead=far(1, 14), refusing=far(15, 18)), inside(lab, "exchange")
    answers = str(options_server(lab))
    for address in near(1, 26):
        world.popen(["sipp", "-sf", answers, "-i", address, "-p", "5060", "-nostdin"])
    world.run(["sleep", "3"])
    ask = "timeout 1.6 sipsak -l 5060 -s sip:$1:5060"
    with recording.at(host):
        for _ in range(2):
            host.run(for_each([*near(1, 26), *far(1, 18)], ask, at_once=1), timeout=90)


def options_server(lab: Lab) -> object:
    """A scenario of sipp's that answers every OPTIONS."""
    path = lab.scratch / "options.xml"
    headers = (
        "[last_Via:]\n[last_From:]\n[last_To:];tag=[call_number]\n[last_Call-ID:]\n[last_CSeq:]\nContent-Length: 0"
    )
    path.write_text(
        '<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="options">\n<recv request="OPTIONS"/>\n'
        f"<send><![CDATA[\nSIP/2.0 200 OK\n{headers}\n\n]]></send>\n</scenario>\n"
    )
    return path


@ordinary(
    "sipp -sn uac 198.51.100.60 -m 60 -r 10; sipp -sn uas",
    "A trunk carries a call a moment, all of it from one port to another.",
)
def sip_calls(lab: Lab, recording: Recording) -> None:
    """60 calls over a trunk."""
    world, host = outside(lab), inside(lab, "exchange")
    world.popen(["sipp", "-sn", "uas", "-i", "198.51.100.60", "-p", "5060", "-nostdin", "-bg"])
    world.run(["sleep", "1"])
    with recording.at(host):
        host.run(["sipp", "-sn", "uac", "198.51.100.60", "-i", CLIENT, "-m", "60", "-r", "10", "-nostdin"], check=False)


@ordinary(
    "turnserver; turnutils_stunclient HOST (48 servers, three times)",
    "A program that wants to know its own address asks a list of public servers, some of which are long gone.",
)
def stun_list(lab: Lab, recording: Recording) -> None:
    """48 STUN servers are asked, three times; 15 never answer, five refuse."""
    world, host = outside(lab, dead=far(1, 15), refusing=far(16, 20)), inside(lab)
    listen = [part for address in near(1, 28) for part in ("-L", address)]
    server = [
        "turnserver",
        "-n",
        "-S",
        "--no-tls",
        "--no-dtls",
        "--no-tcp",
        "--no-cli",
        "--no-rfc5780",
        "-l",
        "stdout",
        *listen,
    ]
    world.start([*server, "--pidfile", f"{lab.scratch}/turn.pid", "-m", "1"]).wait_for_port(3478, "udp")
    with recording.at(host):
        for _ in range(3):
            host.run(for_each([*near(1, 28), *far(1, 20)], "timeout 1 turnutils_stunclient $1", at_once=6))
