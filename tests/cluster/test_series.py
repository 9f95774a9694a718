"""Epochs that are told many at a time: on the worker's end, and on the manager's."""

import msgspec
import numpy as np
import pytest

from sensor.clock import SECOND
from sensor.cluster.messages import ClusterSsSeries, PackedPartial
from sensor.cluster.settings import ClusterSettings
from sensor.sumstats import EpochEnds
from tests.cluster.test_protocol import Net


def observe(net, name, epochs, keys=2):
    """A worker sees, at once, two keys in each of some epochs of 10 s."""
    engine, reporter = net.engines[name], net.reporters[name]
    ts = np.repeat(np.array(epochs) * 10 * SECOND, keys)
    seen = np.tile(np.arange(keys, dtype=np.uint64), len(epochs))[:, np.newaxis]
    [definition] = net.definitions
    values = {each.name: np.full(len(ts), 6.0) for each in definition.reducers}
    for each in engine.observe(definition.name, seen, ts, values):
        if isinstance(each, EpochEnds):
            reporter.ended_in_series(each)
        else:
            reporter.ended(each)


def series_of(messages):
    return [each for each in messages if isinstance(each, ClusterSsSeries)]


def results(net):
    return [each for each in net.detection.results if each[1] != "finished"]


def played(settings=None, epochs=range(20)):
    net = Net("a", "b", settings=settings)
    for name in ("a", "b"):
        observe(net, name, list(epochs))
        net.pass_time(name, 10 * (max(epochs) + 1))
    return net


@pytest.mark.parametrize(("keys", "messages"), [(100, 1), (36, 1), (35, 2), (2, 18), (1, 0)])
def test_a_series_is_cut_into_messages_that_fit_and_comes_to_the_same(keys, messages):
    """Of 20 epochs of two keys, 18 are told in a series; one that does not fit by itself is told in groups."""
    net = played(ClusterSettings(cluster_send_in_groups_of=keys))
    sent = series_of(net.reporters["a"].drain(0.0))
    assert len(sent) == messages
    net = played(ClusterSettings(cluster_send_in_groups_of=keys))
    net.carry()
    assert results(net) == [(epoch, key, 12.0, True, ()) for epoch in range(20) for key in (0, 1)]
    assert [each[0] for each in net.alerts] == ["0 came to 12", "1 came to 12"]


def test_a_series_that_comes_twice_changes_nothing():
    net = played()
    for name in ("a", "b"):
        for message in net.reporters[name].drain(0.0):
            net.manager.receive(name, message, 0.0)
            net.manager.receive(name, message, 0.0)
    net.deliver()
    assert results(net) == [(epoch, key, 12.0, True, ()) for epoch in range(20) for key in (0, 1)]


def test_a_manager_that_begins_anew_comes_to_the_same_from_its_journal():
    net, records = played(), []
    for name in ("a", "b"):
        for message in net.reporters[name].drain(0.0):
            net.manager.receive(name, message, 0.0)
        records += net.manager.drain().records
    again = Net("a", "b")
    again.manager.restore(None, records, 0.0)
    assert results(again) == [(epoch, key, 12.0, True, ()) for epoch in range(20) for key in (0, 1)]


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": b""},
        {"epochs": bytes(7)},
        {"epochs": np.arange(17, dtype=np.int64).tobytes()},
        {"epochs": np.arange(18, 0, -1).tobytes()},
        {"columns": PackedPartial(b"", {}, {})},
        {"definition": "another"},
        {"sumstat": "another"},
    ],
    ids=["no epochs", "half an epoch", "too few", "descending", "no columns", "definition", "sumstat"],
)
def test_what_is_no_series_is_refused_and_changes_nothing(change):
    net = played()
    for message in net.reporters["a"].drain(0.0):
        if isinstance(message, ClusterSsSeries):
            with pytest.raises(ValueError, match=r"."):
                net.manager.receive("a", msgspec.structs.replace(message, **change), 0.0)
        net.manager.receive("a", message, 0.0)
    net.carry("b")
    assert results(net) == [(epoch, key, 12.0, True, ()) for epoch in range(20) for key in (0, 1)]


def test_a_key_that_is_twice_in_an_epoch_is_refused():
    net = played()
    [message] = series_of(net.reporters["a"].drain(0.0))
    rows = np.frombuffer(message.columns.keys, np.uint64).reshape(-1, 2).copy()
    rows[1] = rows[0]
    columns = msgspec.structs.replace(message.columns, keys=rows.tobytes())
    with pytest.raises(ValueError, match="twice"):
        net.manager.receive("a", msgspec.structs.replace(message, sequence=1, columns=columns), 0.0)
