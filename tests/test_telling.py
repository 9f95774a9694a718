"""What a run tells of each second: records where they are asked for, a line on a terminal that makes way for others."""

import io
import logging

import pytest

from sensor.cli.stats import RunOutputs
from sensor.cli.status_line import StatusLine, sentence
from sensor.node.rates import Accounts, Totals
from sensor.outputs.json_lines import JsonLines
from tests.outputs.test_terminal import ALERT, SUMMARY

SINGLE = {
    "kernel_packets": 12_345,
    "packets_delivered": 12_000,
    "ring_drops": 345,
    "nic_drops": 6,
    "bytes": 1_250_000,
    "flows": 78,
    "observations": 9,
    "alerts": 2,
}


def record(refused=None, queue_drops=None):
    return Accounts(0.0).close(Totals(SINGLE, refused or {}, queue_drops or {}), 1.0, 0)


class TerminalStream(io.StringIO):
    def isatty(self):
        return True


def test_a_sentence_has_each_kind_of_loss_apart():
    text = "12,345 packets/s, 10.0 Mbit/s, dropped 345/s in the ring and 6/s by the card, 78 flows, 2 alerts"
    assert sentence(record()) == text
    text = sentence(record({"not_ip": 3, "truncated_ip": 4}, {"epochs_unsent": 5}))
    assert "by the card, 7/s refused, 5/s lost in queues, 78 flows" in text


def test_json_lines_have_stats_only_if_asked_for():
    for stats in (False, True):
        stream = io.StringIO()
        JsonLines(stream, stats=stats).stats(record())
        assert ('"event_type":"stats"' in stream.getvalue()) is stats


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return TerminalStream()


def test_a_status_line_is_erased_before_whatever_else_is_written(terminal):
    line = StatusLine(terminal)
    for make_way in (lambda: line.alert(ALERT), lambda: line.summary(SUMMARY), lambda: line.stats(record())):
        terminal.truncate(0)
        line.stats(record())
        assert terminal.getvalue().endswith("\r")
        assert "12,345 packets/s" in terminal.getvalue()
        shown = len(terminal.getvalue())
        make_way()
        assert terminal.getvalue()[shown:].startswith("\r\x1b[2K")
        line.hide()


def test_a_line_of_the_log_makes_the_status_line_give_way(terminal):
    handler = logging.StreamHandler(terminal)
    logging.getLogger().addHandler(handler)
    try:
        StatusLine(terminal).stats(record())
        logging.getLogger("sensor").warning("odd")
    finally:
        logging.getLogger().removeHandler(handler)
    assert terminal.getvalue().endswith("\r\r\x1b[2Kodd\n")


def test_where_there_is_no_terminal_there_is_no_status_line():
    stream = io.StringIO()
    line = StatusLine(stream)
    line.stats(record())
    line.hide()
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("options", "on_terminal", "out", "errors"),
    [
        ({}, False, "", ""),
        ({}, True, "", "12,345 packets/s"),
        ({"as_json": True}, False, "", ""),
        ({"as_json": True}, True, "", "12,345 packets/s"),
        ({"stats": True}, True, "", "sensor: 00:00:00 12,345 packets/s"),
        ({"stats": True, "as_json": True}, True, '"event_type":"stats"', ""),
        ({"stats": True, "is_silent": True}, False, "", "sensor: 00:00:00 12,345 packets/s"),
    ],
)
def test_where_a_second_is_told(options, on_terminal, out, errors, monkeypatch, terminal):
    streams = {"stdout": io.StringIO(), "stderr": terminal if on_terminal else io.StringIO()}
    for name, stream in streams.items():
        monkeypatch.setattr(f"sys.{name}", stream)
    telling = RunOutputs(**options)
    for tell in telling._tell:
        tell(record())
    for wanted, stream in ((out, streams["stdout"]), (errors, streams["stderr"])):
        assert wanted in stream.getvalue()
        assert bool(wanted) is bool(stream.getvalue())
    assert bool(telling.outputs) is not options.get("is_silent", False)
