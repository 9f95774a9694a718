"""A manager that asks for certificates: who is let in, for how long, and that nobody else changes what comes of it."""

import asyncio
import contextlib
import json
import ssl

import pytest
from click.testing import CliRunner
from cryptography import x509

from sensor import __version__
from sensor.bus.client import Client
from sensor.bus.codec import encode
from sensor.bus.endpoint import BusError, Endpoint
from sensor.bus.interface import Connected, Disconnected
from sensor.bus.message import Refused
from sensor.bus.tls import client_context
from sensor.cli.main import group
from sensor.cluster.messages import CertificateIssued, CertificateRequest, Hello, Status, StatusRequest
from sensor.cluster.vocabulary import VOCABULARY
from sensor.config import configure
from sensor.node.cluster_admission import ClusterAdmission
from sensor.node.manager_address import ManagerAddress, local_socket
from sensor.node.manager_node import ManagerNode
from sensor.node.renewal import LOOK_S, Renewal
from sensor.pki.credentials import CERTIFICATE, KEY, Credentials
from sensor.pki.registry import Registry
from tests.cluster.certificates import DAY, NOW, fill, forge, free_port, make_cluster, make_node, without_certificate
from tests.cluster.test_processes import PATIENCE_S, started, told, until
from tests.replaying import PCAPS

RANDOM = PCAPS / "random-scan.pcap"


@pytest.fixture
def state(tmp_path):
    make_cluster(tmp_path / "manager" / "cluster")
    return tmp_path / "manager"


def serving(state, test):
    """Run a test, which is given a manager at loopback that asks for certificates, and its addresses."""

    async def run():
        node = ManagerNode(configure(), [], gate=ClusterAdmission(state / "cluster"))
        found = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(node.run("127.0.0.1:0", local_socket(state), ready=found.set_result))
        async with asyncio.timeout(PATIENCE_S):
            where = await found
            try:
                await test(node, where)
            finally:
                node.stop()
                await running

    asyncio.run(run())


@contextlib.asynccontextmanager
async def dialling(address, node, name="worker-1", role="worker", digest=""):
    """A client that shows the certificate in a node's folder."""
    tls = client_context(node) if node else None
    made = Client(address, lambda: Hello(name, role, __version__, digest, 1, 1), VOCABULARY, tls=tls, seed=1)
    made.start()
    try:
        yield made
    finally:
        await asyncio.to_thread(made.stop)


async def first(made, *kinds):
    """The first of some kinds that a client hears."""
    while True:
        for each in await asyncio.to_thread(made.receive, 0.1):
            if isinstance(each, kinds):
                return each


def test_a_node_that_is_revoked_while_it_is_connected_is_cut_off_and_told(tmp_path, state):
    make_node(tmp_path / "node", state / "cluster")
    make_node(tmp_path / "other", state / "cluster", "worker-2")

    async def test(node, where):
        digest = node.manager.digest
        async with (
            dialling(where[0], tmp_path / "node", digest=digest) as made,
            dialling(where[0], tmp_path / "other", "worker-2", digest=digest) as other,
        ):
            await first(made, Connected)
            await first(other, Connected)
            Registry(state / "cluster").revoke("worker-1")
            refused = await first(made, Refused)
            assert (refused.fatal, "no longer holds" in refused.reason) == (True, True)
            assert {each.name: each.state for each in node.manager.status(0.0).nodes}["worker-2"] == "up"

    serving(state, test)


def test_a_certificate_is_renewed_over_the_bus_and_shown_from_then_on(tmp_path, state):
    own, folder = tmp_path / "node", state / "cluster"
    make_node(own, folder, now=NOW - 61 * DAY)
    before = (own / CERTIFICATE).read_bytes()
    first_serial = Registry(folder).nodes["worker-1"].certificates[0].serial

    async def test(node, where):
        tls = client_context(own)
        renewal = Renewal(own, tls)
        made = Client(
            where[0], lambda: Hello("worker-1", "worker", __version__, node.manager.digest, 1, 1), VOCABULARY, tls=tls
        )
        made.start()
        await first(made, Connected)
        assert made.send(renewal.due())
        assert renewal.due() is None, f"it is not asked for again within {LOOK_S} s"
        renewal.apply(await first(made, CertificateIssued))
        await asyncio.to_thread(made.stop)
        registry = Registry(folder)
        old, new = registry.nodes["worker-1"].certificates
        assert old.serial == first_serial
        registry.renew("worker-1", new.serial, lambda role: new)  # so that the first holds no more
        async with dialling(where[0], own, digest=node.manager.digest) as again:
            await first(again, Connected)

    serving(state, test)
    assert (own / CERTIFICATE).read_bytes() != before
    client_context(own)


@pytest.mark.parametrize(("age", "is_due"), [(60 * DAY - DAY // 24, False), (60 * DAY + DAY // 24, True)])
def test_a_certificate_is_due_for_renewal_after_two_thirds_of_its_life(tmp_path, state, age, is_due):
    make_node(tmp_path / "node", state / "cluster", now=NOW - age)
    asked = Renewal(tmp_path / "node", client_context(tmp_path / "node")).due()
    assert (asked is not None) == is_due


def test_a_request_for_a_certificate_that_is_none_is_not_answered_and_changes_nothing(tmp_path, state):
    make_node(tmp_path / "node", state / "cluster")
    before = (state / "cluster" / "registry.json").read_bytes()

    async def test(node, where):
        async with dialling(where[0], tmp_path / "node", digest=node.manager.digest) as made:
            await first(made, Connected)
            made.send(CertificateRequest(b"\x30\x03abc"))
        async with dialling(local_socket(state), None, "watcher", "observer") as watcher:
            await first(watcher, Connected)
            watcher.send(StatusRequest())
            assert isinstance(await first(watcher, Status), Status)

    serving(state, test)
    assert (state / "cluster" / "registry.json").read_bytes() == before


def test_nobody_without_a_certificate_asks_for_another(state):
    async def test(node, where):
        async with dialling(where[1], None, digest=node.manager.digest) as made:
            await first(made, Connected)
            made.send(CertificateRequest(b""))
            assert "has a certificate" in (await first(made, Refused)).reason

    serving(state, test)


def test_a_worker_that_comes_by_another_address_takes_the_place_of_its_first_connection(tmp_path, state):
    make_node(tmp_path / "node", state / "cluster")

    async def test(node, where):
        digest = node.manager.digest
        async with dialling(where[0], tmp_path / "node", digest=digest) as made:
            await first(made, Connected)
            async with dialling(where[1], None, digest=digest) as again:
                await first(again, Connected)
                assert "connected again, from unix" in (await first(made, Refused)).reason

    serving(state, test)


async def knock(address, tls, *data):
    """Somebody who says something at an address, and stays until the other end closes, or something goes wrong."""
    endpoint = Endpoint.parse(address)
    with contextlib.suppress(OSError, ssl.SSLError):
        reader, writer = await asyncio.open_connection(endpoint.host, endpoint.port, ssl=tls)
        for each in data:
            writer.write(each)
        with contextlib.suppress(OSError):
            await reader.read()
        writer.transport.abort()


def intruders(tmp_path, state, digest):
    """Those who have no certificate that holds: what each connects with, and says."""
    cluster = Credentials.load(state / "cluster").cluster
    authority = (state / "cluster" / "ca.pem").read_bytes()
    hello = encode(Hello("worker-1", "worker", __version__, digest, 2, 1))
    fill(tmp_path / "forged", authority, *forge([uri(cluster, "worker-1")]))
    make_cluster(tmp_path / "elsewhere")
    make_node(tmp_path / "stranger", tmp_path / "elsewhere")
    own = (tmp_path / "stranger" / CERTIFICATE).read_bytes(), (tmp_path / "stranger" / KEY).read_bytes()
    fill(tmp_path / "stranger", authority, *own)
    make_node(tmp_path / "late", state / "cluster", "late", now=NOW - 91 * DAY)
    make_node(tmp_path / "revoked", state / "cluster", "revoked")
    Registry(state / "cluster").revoke("revoked")
    make_node(tmp_path / "other", state / "cluster", "other")
    yield "plain", None, hello
    yield "no certificate", without_certificate(authority), hello
    for name in ("forged", "stranger", "late", "revoked", "other"):
        yield name, client_context(tmp_path / name), hello


def uri(cluster, name):
    return x509.UniformResourceIdentifier(f"sensor://{cluster}/worker/{name}")


def test_whoever_has_no_certificate_that_holds_is_heard_of_nowhere(tmp_path, state):
    make_node(tmp_path / "node", state / "cluster")

    async def test(node, where):
        digest = node.manager.digest
        async with dialling(where[0], tmp_path / "node", digest=digest) as made:
            await first(made, Connected)
            for name, tls, hello in intruders(tmp_path, state, digest):
                await knock(where[0], tls, hello, hello)
                nodes = node.manager.status(0.0).nodes
                assert [(each.name, each.state, each.incarnation) for each in nodes] == [("worker-1", "up", 1)], name
            assert not [each for each in made.receive() if isinstance(each, Refused | Disconnected)]

    serving(state, test)


def lines_of(path):
    return path.read_text().splitlines() if path.exists() else []


def test_processes_with_certificates_tell_what_those_without_do_whoever_knocks(tmp_path, state):
    with started("manager", "--listen", f"unix:{tmp_path}/plain", "--workers", "worker-1", "--json") as manager:
        until(lambda: (tmp_path / "plain").exists(), "the manager's socket")
        observe("--manager", f"unix:{tmp_path}/plain", "--name", "worker-1")
        expected = alerts_of(manager)
    mine = Credentials.load(state / "cluster")
    address = f"127.0.0.1:{free_port()}"
    Credentials(mine.cluster, mine.name, mine.role, address, mine.secret, "127.0.0.1:0").save(state / "cluster")
    make_node(tmp_path / "w" / "cluster", state / "cluster")
    make_node(tmp_path / "o" / "cluster", state / "cluster", "watcher", "observer")
    with started("manager", "--state", state, "--workers", "worker-1", "--json") as manager:
        until(lambda: (state / "bus").exists(), "the manager's socket")
        for name, tls, hello in intruders(tmp_path, state, "0" * 64):
            asyncio.run(asyncio.wait_for(knock(address, tls, hello, b"\xff" * 100), PATIENCE_S))
            assert manager.poll() is None, name
        observe("--state", tmp_path / "w")
        for folder in (state, tmp_path / "o"):
            assert json.loads(status(folder)[0])["nodes"][0]["state"] == "done"
        assert "of worker worker-1, not of observer" in status(tmp_path / "w")[1]
        found = alerts_of(manager)
    assert found == expected != []
    assert told((state / "alerts.jsonl").read_text().splitlines()) == found


def observe(*options):
    with started("worker", *options, "--replay", RANDOM) as worker:
        assert worker.wait(PATIENCE_S) == 0, worker.stderr.read()


def status(folder):
    with started("status", "--state", folder, "--json") as asked:
        return asked.communicate(timeout=PATIENCE_S)


def alerts_of(manager):
    """What a manager has told by its end."""
    manager.terminate()
    out, errors = manager.communicate(timeout=PATIENCE_S)
    assert manager.returncode == 0, errors
    return told(out.splitlines())


@pytest.mark.parametrize("address", ["192.0.2.1:47700", "sensor.example:47700", "0.0.0.0:47700"])
def test_there_is_no_way_off_this_host_without_certificates(tmp_path, address):
    with pytest.raises(BusError, match="sensor cluster join"):
        ManagerAddress.find(address, tmp_path / "none")
    for command in (["worker", "--manager", address, "--replay", "x"], ["status", "--manager", address]):
        ran = CliRunner().invoke(group, [*command, "--state", str(tmp_path / "none")])
        assert (ran.exit_code, "sensor cluster join" in ran.stderr) == (2, True), command
    ran = CliRunner().invoke(group, ["manager", "--listen", address, "--state", str(tmp_path / "none")])
    assert (ran.exit_code, "needs TLS" in ran.stderr) == (2, True)


def test_a_manager_is_found_by_the_folder_of_a_node(tmp_path, state):
    folder = tmp_path / "w"
    make_node(folder / "cluster", state / "cluster")
    mine = Credentials.load(folder / "cluster")
    assert ManagerAddress.find(None, tmp_path / "none") == ManagerAddress("127.0.0.1:47700")
    assert ManagerAddress.find(None, state) == ManagerAddress(f"unix:{state}/bus", None, mine.secret)
    assert ManagerAddress.find(None, folder) == ManagerAddress(mine.address, folder / "cluster", mine.secret)
    assert ManagerAddress.find(mine.address, folder) == ManagerAddress(mine.address, folder / "cluster", mine.secret)
    assert ManagerAddress.find("192.0.2.1:1", folder) == ManagerAddress("192.0.2.1:1", folder / "cluster", mine.secret)
    assert ManagerAddress.find("127.0.0.1:1", folder) == ManagerAddress("127.0.0.1:1")
    assert ManagerAddress.find("unix:/x", folder) == ManagerAddress("unix:/x")
    assert ManagerAddress.find(f"unix:{state}/bus", state) == ManagerAddress.find(None, state)
    assert ManagerAddress.find(f"unix:{tmp_path}/none/bus", tmp_path / "none") == ManagerAddress(
        f"unix:{tmp_path}/none/bus"
    )


def test_sketches_of_a_cluster_are_keyed_with_its_secret():
    plain = configure()
    one, two = plain.of_cluster(b"a" * 16), plain.of_cluster(b"b" * 16)
    keys = {d.sketch_key for each in (plain, one, two) for made in each.make() for d in made.define().values()}
    assert len(keys) == 3
