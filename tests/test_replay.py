"""The command: what it prints where, its exit codes, and what it makes of wrong input."""

import gzip
import json
import signal
import subprocess
import sys
import textwrap

import pytest

from tests.replaying import PCAPS, ROOT, replay, sensor

SCAN = PCAPS / "port-scan-syn.pcap"
QUIET = PCAPS / "curl-and-dig.pcap"

ALERT_FIELDS = [
    "id",
    "ts",
    "first_seen",
    "last_seen",
    "detection",
    "kind",
    "severity",
    "message",
    "src",
    "dst",
    "port",
    "proto",
    "value",
    "threshold",
    "sample",
    "epoch",
    "complete",
    "workers",
]

SUMMARY_FIELDS = [
    "packets_read",
    "packets_decoded",
    "refused",
    "weirds",
    "flows",
    "observations",
    "alerts",
    "bytes",
    "first_ts",
    "last_ts",
    "seconds",
]


def test_an_alert_and_the_summary_have_every_promised_field():
    ran = replay(SCAN)
    [alert] = ran.alerts
    assert [name for name in ALERT_FIELDS if name not in alert] == []
    assert [name for name in SUMMARY_FIELDS if name not in ran.summary] == []
    assert (alert["src"], alert["dst"], alert["port"]) == ("192.0.2.10", "198.51.100.20", None)
    assert (alert["value"], alert["threshold"], alert["complete"], alert["workers"]) == (120, 15, True, ["worker-1"])
    assert alert["first_seen"] <= alert["last_seen"] <= alert["ts"]
    assert ran.summary["alerts"] == 1


def test_a_replay_gives_the_same_alerts_every_time():
    assert replay(PCAPS / "random-scan.pcap").alerts == replay(PCAPS / "random-scan.pcap").alerts


def test_alerts_are_no_failure_unless_asked_for():
    assert replay(SCAN).exit_code == 0
    assert replay("--exit-code", SCAN).exit_code == 10
    assert replay("--exit-code", QUIET).exit_code == 0


def test_a_damaged_input_is_processed_as_far_as_it_goes_and_its_offset_named(tmp_path):
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(SCAN.read_bytes()[:-5])
    ran = replay("--exit-code", cut)
    assert ran.exit_code == 1
    assert len(ran.alerts) == 1
    assert ran.summary["packets_read"] == replay(SCAN).summary["packets_read"] - 1
    assert f"{cut}: at byte " in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize("content", [b"", b"not a capture, but long enough to have been one", bytes(24)])
def test_a_file_that_is_no_capture_is_one_line(tmp_path, content):
    path = tmp_path / "other.pcap"
    path.write_bytes(content)
    ran = sensor("replay", path)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert str(path) in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_a_missing_file_is_one_line_before_anything_is_read(tmp_path):
    ran = sensor("replay", SCAN, tmp_path / "absent.pcap")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "absent.pcap" in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--no-such-option", SCAN],
        ["--detection", "portscan", SCAN],
        ["--set", "port_scan.port=20", SCAN],
        ["--plugin", "absent.py", SCAN],
    ],
)
def test_a_misuse_exits_with_2_and_prints_no_data(arguments):
    ran = sensor("replay", *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "Traceback" not in ran.stderr


def test_an_option_moves_the_line():
    assert [each["threshold"] for each in replay("--set", "port_scan.ports=120", SCAN).alerts] == [120]
    assert replay("--set", "port_scan.ports=121", SCAN).alerts == []


def test_a_chosen_detection_runs_alone():
    ran = replay("--detection", "address_scan", SCAN)
    assert ran.alerts == []
    assert ran.summary["detections"] == ["address_scan"]


def test_standard_input_a_folder_and_gzip_are_read_like_the_file(tmp_path):
    (tmp_path / "scan.pcap.gz").write_bytes(gzip.compress(SCAN.read_bytes()))
    (tmp_path / "notes.txt").write_text("not a capture")
    expected = replay(SCAN)
    folder = replay(tmp_path)
    assert folder.alerts == expected.alerts
    assert "notes.txt" in folder.stderr
    with SCAN.open("rb") as stdin:
        piped = sensor("replay", "--json", "-", stdin=stdin)
    alert, update, _ = [json.loads(line) for line in piped.stdout.splitlines()]
    assert (alert["event_type"], update["event_type"]) == ("alert", "alert_update")
    assert (alert["value"], alert["id"]) == (15, expected.alerts[0]["id"])  # at once, as the pipe may have no end
    final = {name: expected.alerts[0][name] for name in ("id", "value", "first_seen", "last_seen", "workers")}
    assert {name: update[name] for name in final} == final


FEW = """
from sensor.detection import Alert, Detection, Stream, SumStat, Unique

class Few(Detection):
    "A few ports and no more. Misses nothing."
    attempts = Stream("connection_attempt", "connection_rejected", key=("orig_h", "resp_h"), value="resp_p")
    s = SumStat(epoch="5m", ports=Unique(attempts))

    @s.crosses(ports=5)
    def reached(self, key, seen):
        return Alert(f"{seen.ports.count} ports", same_as=key) if seen.ports.count < 10 else None
"""


@pytest.mark.parametrize("arguments", [("--json",), ()])
def test_an_alert_that_is_withdrawn_stays_listed_and_is_none_to_exit_for(tmp_path, arguments):
    plugin = tmp_path / "few.py"
    plugin.write_text(FEW)
    with SCAN.open("rb") as stdin:
        ran = sensor("replay", *arguments, "--exit-code", "--plugin", plugin, "--detection", "few", "-", stdin=stdin)
    assert ran.returncode == 0
    if not arguments:
        assert "withdrawn: outweighed by what came of contacts begun before (5 ports)" in ran.stdout
        assert "1 alert (1 of them withdrawn) from 1 detection" in ran.stdout
        return
    alert, update, summary = [json.loads(line) for line in ran.stdout.splitlines()]
    assert (alert["id"], alert["message"]) == (update["id"], "5 ports")
    assert (update["state"], update["src"], summary["alerts"], summary["alerts_withdrawn"]) == (
        "withdrawn",
        alert["src"],
        1,
        1,
    )


def test_files_are_merged_by_time_whatever_their_order():
    first, second = PCAPS / "port-scan-connect.pcap", PCAPS / "address-scan-udp.pcap"
    assert replay(first, second).alerts == replay(second, first).alerts
    found = replay(first, second).alerts
    assert [(each["detection"], each["ts"][:16]) for each in found] == [
        ("port_scan", "2026-11-24T02:52"),  # its pane ends between the two
        ("random_scan", "2026-11-24T02:53"),
    ]
    assert found[1]["first_seen"] == found[0]["first_seen"]


def test_people_get_a_table_and_a_summary_on_standard_output_only():
    ran = sensor("replay", SCAN)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "198.51.100.20" in ran.stdout
    assert "245 packets read" in ran.stdout


def test_a_reader_that_goes_away_is_no_error():
    command = f"'{sys.executable}' -m sensor replay --json '{SCAN}' '{QUIET}' | true"
    ran = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, cwd=ROOT)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_an_interrupt_ends_a_run_in_order_with_its_summary(tmp_path):
    data = SCAN.read_bytes()
    command = [sys.executable, "-m", "sensor", "replay", "--json", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        process.stdin.write(data)
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["event_type"] == "alert"
        process.send_signal(signal.SIGINT)
        process.stdin.write(data[24:])
        process.stdin.close()
        records = [json.loads(line) for line in process.stdout]
    assert process.returncode == 0
    assert records[-1]["event_type"] == "summary"


HEAVY = ("numpy", "numba", "scapy", "rich", "msgspec", "asyncio", "pyroute2", "dpkt")


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_the_version_and_the_help_import_nothing_heavy(arguments):
    code = f"""
        import sys
        from sensor.cli.main import group
        try:
            group({arguments!r})
        except SystemExit:
            print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=ROOT)
    assert ran.stderr == "[]\n"
    assert ran.stdout


def test_detections_are_listed_with_options_defaults_and_what_they_miss():
    ran = sensor("detections", "--json", "--set", "port_scan.ports=20")
    listed = {each["detection"]: each for each in map(json.loads, ran.stdout.splitlines())}
    assert list(listed) == ["address_scan", "port_scan", "random_scan"]
    ports = {each["name"]: each for each in listed["port_scan"]["options"]}["ports"]
    assert (ports["value"], ports["default"], ports["min"]) == (20, 15, 2)
    for text in (sensor("detections").stdout, ran.stdout):
        assert text.count("Misses ") == 3


FAULTY = """
    import numpy as np
    from sensor.detection import Alert, Detection, Stream, Sum, SumStat, on

    class Faulty(Detection):
        "Raises. Misses everything."
        refusals = Stream("connection_rejected", key="orig_h")
        count = SumStat(epoch="1m", total=Sum(refusals))

        @count.crosses(total=3)
        def three(self, key, seen):
            return Alert(f"{seen.totl}")

    class FaultyHandler(Detection):
        "Raises. Misses everything."
        @on("udp_request")
        def look(self, batch):
            return batch.orig_host
"""


def test_a_detection_that_raises_is_counted_and_named_and_the_others_go_on(tmp_path):
    plugin = tmp_path / "faulty.py"
    plugin.write_text(textwrap.dedent(FAULTY))
    ran = sensor("replay", "--json", "--plugin", plugin, SCAN, QUIET)
    *alerts, summary = map(json.loads, ran.stdout.splitlines())
    assert [each["detection"] for each in alerts] == ["port_scan"]
    assert summary["detection_faults"] == {"faulty": 1, "faulty_handler": summary["detection_faults"]["faulty_handler"]}
    assert "did you mean 'total'?" in ran.stderr
    assert "did you mean 'orig_h'?" in ran.stderr
    assert "Traceback" in ran.stderr


RAISING = {
    "where": "s = SumStat(epoch='5m', n=Sum(Stream('connection_rejected', key='orig_h', where=lambda b: b.ts[9**9])))",
    "handler": "@on('connection_rejected')\n    def look(self, batch): raise ValueError",
    "crossing": "s = SumStat(epoch='5m', n=Sum(Stream('connection_rejected', key='orig_h')))\n"
    "    @s.crosses(n=2)\n    def found(self, key, seen): raise ValueError",
    "end": "s = SumStat(epoch='5m', n=Sum(Stream('connection_rejected', key='orig_h')))\n"
    "    @s.epoch_finished\n    def over(self, epoch): raise ValueError",
}


@pytest.mark.parametrize("body", RAISING.values(), ids=RAISING)
@pytest.mark.parametrize("workers", [1, 3])
def test_a_detection_that_raised_is_a_failure_which_goes_before_alerts(tmp_path, workers, body):
    plugin = tmp_path / "raising.py"
    head = "from sensor.detection import Detection, Stream, Sum, SumStat, on\n\nclass Raising(Detection):\n"
    plugin.write_text(f'{head}    "Raises. Misses everything."\n    {body}\n')
    options = ("--plugin", plugin, "--workers", workers)
    assert [sensor("replay", *options, *more, SCAN).returncode for more in ((), ("--exit-code",))] == [1, 1]


HAND_FED = """
    from sensor.detection import Alert, Detection, Stream, SumStat, Unique, on

    class LowPorts(Detection):
        "Refusals below port 1024, fed by hand. Misses the rest."
        low = Stream(key=("orig_h", "resp_h"))
        scan = SumStat(epoch="5m", ports=Unique(low, of="resp_p", keep=3))

        @on("connection_rejected")
        def pick(self, batch):
            mine = batch[batch.resp_p < 1024]
            self.observe(self.low, (mine.orig_h, mine.resp_h), mine.resp_p, rows=mine)

        @scan.crosses(ports=10)
        def found(self, key, seen):
            return Alert(f"{key.orig_h} {seen.ports.count}", sample=seen.ports.sample)
"""


def test_a_stream_fed_by_hand_counts_like_any_other(tmp_path):
    plugin = tmp_path / "low.py"
    plugin.write_text(textwrap.dedent(HAND_FED))
    ran = replay("--detection", "low_ports", "--plugin", plugin, SCAN)
    [alert] = ran.alerts
    assert (alert["value"], alert["src"], alert["dst"]) == (117, "192.0.2.10", "198.51.100.20")
    assert len(alert["sample"]) == 3
    assert all(port < 1024 for port in alert["sample"])
