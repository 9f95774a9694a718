"""Certificates over real TLS, the registry that says which of them hold, and the token."""

import asyncio
import base64
import contextlib
import shutil
import ssl
import stat
import subprocess
import sys
import threading
import zlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.bus.client import Client
from sensor.bus.interface import Connected
from sensor.bus.message import Refused
from sensor.bus.server import Server
from sensor.bus.tls import Admission, client_context, identity, server_context
from sensor.cluster.messages import Hello, Welcome
from sensor.cluster.vocabulary import VOCABULARY
from sensor.pki.authority import Authority, create, needs_renewal, new_key, new_request
from sensor.pki.credentials import AUTHORITY, CERTIFICATE, KEY, Credentials, CredentialsError
from sensor.pki.registry import Certificate, InvitationError, Registry, RegistryError
from sensor.pki.token import Token
from tests.cluster.certificates import DAY, NOW, fill, forge, make_cluster, make_node, without_certificate

PATIENCE_S = 10.0
HOUR = DAY // 24


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    make_cluster(folder := tmp_path_factory.mktemp("template") / "manager")
    return folder


@pytest.fixture
def manager(tmp_path, template):
    """A cluster of its own for each test; copied, as each file that is made waits for the disk."""
    return shutil.copytree(template, tmp_path / "manager")


def greet(manager, client):
    """Let a client say something to a manager: what it heard, whom it took the client for, who came through TLS."""
    heard, taken, met = [], [], []
    admission = Admission(Credentials.load(manager).cluster, Registry(manager).is_revoked)

    async def serve(reader, writer):
        met.append(writer)
        with contextlib.suppress(ValueError, OSError):
            taken.append(admission.identify(writer.get_extra_info("ssl_object"))[:2])
            heard.append(await reader.read(5))
            writer.write(b"done")
            await writer.drain()
        writer.transport.abort()

    async def run():
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context(manager))
        async with asyncio.timeout(PATIENCE_S), server:
            await speak(server.sockets[0].getsockname()[1], client)
        return heard, taken, len(met)

    return asyncio.run(run())


async def speak(port, client):
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        try:
            writer.write(b"hello")
            await reader.read()
        finally:
            writer.transport.abort()


def is_refused(manager, client):
    """Whether a client is refused by TLS itself."""
    return greet(manager, client) == ([], [], 0)


def is_turned_away(manager, client):
    """Whether a client that the authority has signed is refused, before anything is heard of it."""
    return greet(manager, client) == ([], [], 1)


@pytest.mark.parametrize("role", ["worker", "observer"])
def test_a_node_that_has_joined_is_known_by_its_certificate(tmp_path, manager, role):
    make_node(tmp_path / "node", manager, "node-1", role)
    assert greet(manager, client_context(tmp_path / "node")) == ([b"hello"], [("node-1", role)], 1)


def test_a_certificate_of_another_authority_is_refused_before_anything_is_heard(tmp_path, manager):
    make_cluster(tmp_path / "other")
    make_node(tmp_path / "node", tmp_path / "other")
    own = (tmp_path / "node" / CERTIFICATE).read_bytes(), (tmp_path / "node" / KEY).read_bytes()
    fill(tmp_path / "node", (manager / AUTHORITY).read_bytes(), *own)
    assert is_refused(manager, client_context(tmp_path / "node"))


@pytest.mark.parametrize(("age", "refused"), [(90 * DAY - HOUR, False), (90 * DAY + HOUR, True), (-2 * HOUR, True)])
def test_a_certificate_holds_for_its_90_days(tmp_path, manager, age, refused):
    make_node(tmp_path / "node", manager, now=NOW - age)
    assert is_refused(manager, client_context(tmp_path / "node")) == refused


def test_a_certificate_that_signed_itself_is_refused_before_anything_is_heard(tmp_path, manager):
    cluster = Credentials.load(manager).cluster
    own = forge([x509.UniformResourceIdentifier(f"sensor://{cluster}/worker/worker-1")])
    fill(tmp_path / "node", (manager / AUTHORITY).read_bytes(), *own)
    assert is_refused(manager, client_context(tmp_path / "node"))


def test_a_client_without_a_certificate_is_refused_before_anything_is_heard(manager):
    assert is_refused(manager, without_certificate((manager / AUTHORITY).read_bytes()))


def test_tls_before_1_3_is_refused(tmp_path, manager):
    make_node(tmp_path / "node", manager)
    context = client_context(tmp_path / "node")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert is_refused(manager, context)


def test_a_certificate_that_was_revoked_is_refused_before_anything_is_heard(tmp_path, manager):
    make_node(tmp_path / "node", manager)
    Registry(manager).revoke("worker-1")
    assert is_turned_away(manager, client_context(tmp_path / "node"))


def test_a_certificate_that_names_another_cluster_is_refused_before_anything_is_heard(tmp_path, manager):
    make_node(tmp_path / "node", manager, cluster="0123456789abcdef")
    assert is_turned_away(manager, client_context(tmp_path / "node"))


def test_what_the_forged_certificates_below_lack_is_only_their_names(tmp_path, manager):
    own = forge([x509.UniformResourceIdentifier(f"sensor://{Credentials.load(manager).cluster}/worker/w")], manager)
    fill(tmp_path / "node", (manager / AUTHORITY).read_bytes(), *own)
    Registry(manager).redeem("w", Registry(manager).invite("w", "worker", NOW + DAY), NOW, lambda _: serial_of(own[0]))
    assert greet(manager, client_context(tmp_path / "node")) == ([b"hello"], [("w", "worker")], 1)


def serial_of(pem):
    return Certificate(f"{x509.load_pem_x509_certificate(pem).serial_number:x}", NOW + DAY)


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["sensor://{}/worker/worker-1", "sensor://{}/observer/worker-1"],
        ["sensor://{}/worker/worker-1/more"],
        ["sensor://{}/worker/worker-1\n"],
        ["sensor://{}/worker/"],
        ["sensor://{}/worker/-1"],
        ["sensor://{}/root/worker-1"],
        ["sensor://{}/worker/" + 33 * "w"],
        ["https://{}/worker/worker-1"],
        ["sensor:///worker/worker-1"],
    ],
)
def test_a_certificate_that_does_not_name_one_node_is_refused_though_it_is_signed(tmp_path, manager, names):
    cluster = Credentials.load(manager).cluster
    own = forge([x509.UniformResourceIdentifier(name.format(cluster)) for name in names], manager)
    fill(tmp_path / "node", (manager / AUTHORITY).read_bytes(), *own)
    secret = Registry(manager).invite("worker-1", "worker", NOW + DAY)
    Registry(manager).redeem("worker-1", secret, NOW, lambda _: serial_of(own[0]))
    assert is_turned_away(manager, client_context(tmp_path / "node"))


@pytest.mark.parametrize("name", ["w", 32 * "w"])
def test_a_name_may_have_1_to_32_letters(tmp_path, manager, name):
    make_node(tmp_path / "node", manager, name)
    assert greet(manager, client_context(tmp_path / "node"))[1] == [(name, "worker")]


def test_identity_tells_the_serial_that_the_registry_knows(tmp_path, manager):
    certificate = make_node(tmp_path / "node", manager)

    class Peer:
        def getpeercert(self):
            return ssl._ssl._test_decode_cert(str(tmp_path / "node" / CERTIFICATE))

    assert identity(Peer(), Credentials.load(manager).cluster) == ("worker-1", "worker", certificate.serial)


def said_to(server, client):
    """What a client, which has to refuse it, says to a server."""
    heard = []

    async def serve(reader, writer):
        with contextlib.suppress(OSError):
            heard.append(await reader.read(5))
        writer.transport.abort()

    async def run():
        listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server)
        async with asyncio.timeout(PATIENCE_S), listener:
            with pytest.raises(ssl.SSLCertVerificationError):
                port = listener.sockets[0].getsockname()[1]
                await asyncio.open_connection("127.0.0.1", port, ssl=client)
        return b"".join(heard)

    return asyncio.run(run())


@pytest.mark.parametrize("name", ["worker-2", "manager"])
def test_a_worker_cannot_pose_as_the_manager_whatever_its_name_is(tmp_path, manager, name):
    make_node(tmp_path / "node", manager)
    make_node(tmp_path / "rogue", manager, name)
    assert said_to(server_context(tmp_path / "rogue"), client_context(tmp_path / "node")) == b""


def test_a_manager_of_another_cluster_is_refused_before_anything_is_said(tmp_path, manager):
    make_node(tmp_path / "node", manager)
    make_cluster(tmp_path / "other")
    assert said_to(server_context(tmp_path / "other"), client_context(tmp_path / "node")) == b""


def test_the_managers_certificate_is_for_its_host(tmp_path):
    create(
        tmp_path / "manager", "sensor.example", bus="sensor.example:47700", enrolment="sensor.example:47701", now=NOW
    )
    make_node(tmp_path / "node", tmp_path / "manager")
    assert said_to(server_context(tmp_path / "manager"), client_context(tmp_path / "node")) == b""


class Handler:
    """A manager that lets in whom the bus lets in."""

    def __init__(self):
        self.hellos = []

    def hello(self, peer, hello):
        self.hellos.append(hello)
        return Welcome(0, [])

    def received(self, peer, message):
        pass

    def lost(self, peer):
        pass


def dial(manager, node, name):
    """What a worker of that name first hears of the bus, and which hellos its manager was told."""
    handler = Handler()

    async def run():
        admission = Admission(Credentials.load(manager).cluster, Registry(manager).is_revoked)
        server = Server("127.0.0.1:0", handler, VOCABULARY, tls=server_context(manager), admission=admission)
        await server.start()
        client = Client(server.address, lambda: Hello(name, "worker", "1"), VOCABULARY, tls=client_context(node))
        client.start()
        try:
            return (await asyncio.to_thread(client.receive, PATIENCE_S))[0]
        finally:
            await asyncio.to_thread(client.stop)
            await server.close()

    return asyncio.run(run()), handler.hellos


def test_the_bus_takes_a_worker_for_whom_its_certificate_is_of(tmp_path, manager):
    make_node(tmp_path / "node", manager)
    first, hellos = dial(manager, tmp_path / "node", "worker-1")
    assert isinstance(first, Connected)
    assert [hello.name for hello in hellos] == ["worker-1"]


def test_the_bus_does_not_take_a_worker_for_another(tmp_path, manager):
    make_node(tmp_path / "node", manager)
    make_node(tmp_path / "node-2", manager, "worker-2")
    first, hellos = dial(manager, tmp_path / "node", "worker-2")
    assert first == Refused("the certificate is of worker worker-1, not of worker worker-2", fatal=True)
    assert not hellos


def test_the_bus_refuses_a_worker_that_was_revoked(tmp_path, manager):
    make_node(tmp_path / "node", manager)
    Registry(manager).revoke("worker-1")
    first, hellos = dial(manager, tmp_path / "node", "worker-1")
    assert isinstance(first, Refused)
    assert "no longer holds" in first.reason
    assert not hellos


def test_folders_and_files_are_for_their_owner_alone(tmp_path, manager):
    make_node(tmp_path / "node", manager)
    for folder in (manager, tmp_path / "node"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o600}


def test_a_folder_that_lacks_a_file_is_named(tmp_path, manager):
    (manager / KEY).unlink()
    with pytest.raises(CredentialsError, match=f"{manager} lacks node.key"):
        server_context(manager)


def test_a_key_of_another_certificate_is_told(tmp_path, manager):
    (manager / KEY).write_bytes(new_key())
    with pytest.raises(CredentialsError, match=f"in {manager} cannot be used"):
        server_context(manager)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"cluster": "x"}'])
def test_credentials_that_are_damaged_are_told(manager, content):
    (manager / "node.json").write_bytes(content)
    with pytest.raises(CredentialsError, match=r"node\.json is damaged"):
        Credentials.load(manager)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "a b", "-x", "ä.example", 254 * "a"])
def test_a_host_that_no_certificate_can_be_for_leaves_nothing_behind(tmp_path, host):
    with pytest.raises(ValueError, match=r"neither an IP|no address to reach"):
        create(tmp_path / "manager", host, bus=f"{host}:47700", enrolment=f"{host}:47701", now=NOW)
    assert not (tmp_path / "manager").exists()


def test_a_cluster_is_not_made_over_another(tmp_path, manager):
    before = {each.name: each.read_bytes() for each in manager.iterdir()}
    with pytest.raises(CredentialsError, match="already"):
        make_cluster(manager)
    assert {each.name: each.read_bytes() for each in manager.iterdir()} == before


def test_nothing_that_a_request_says_of_itself_is_taken_over(manager):
    key = ec.generate_private_key(ec.SECP256R1())
    wish = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("sensor://x/manager/manager")])
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "manager")])
    request = x509.CertificateSigningRequestBuilder(name).add_extension(wish, critical=False)
    request = request.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    der = request.sign(key, SHA256()).public_bytes(Encoding.DER)
    read = x509.load_pem_x509_certificate(Authority(manager).issue(der, "worker-1", "worker", NOW).pem)
    uris = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [uri.value for uri in uris] == [f"sensor://{Credentials.load(manager).cluster}/worker/worker-1"]
    assert not read.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert read.subject.rfc4514_string() == "CN=worker-1"


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()])
def test_only_keys_of_our_kind_are_certified(manager, key):
    algorithm = SHA256() if isinstance(key, ec.EllipticCurvePrivateKey) else None
    request = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, algorithm)
    with pytest.raises(ValueError, match="P-256"):
        Authority(manager).issue(request.public_bytes(Encoding.DER), "worker-1", "worker", NOW)


_REQUEST = new_request(new_key())


@settings(derandomize=True, deadline=None)
@given(st.data())
def test_a_request_that_was_tampered_with_is_refused_and_never_raises_anything_else(template, data):
    at = data.draw(st.integers(0, len(_REQUEST) - 1))
    tampered = bytearray(_REQUEST)
    tampered[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError):
        Authority(template).issue(bytes(tampered), "worker-1", "worker", NOW)


def test_a_certificate_is_renewed_at_two_thirds_of_its_life(manager):
    """It holds from an hour before it is issued, so its life is 90 days and an hour."""
    pem = Authority(manager).issue(_REQUEST, "worker-1", "worker", NOW).pem
    due = NOW - HOUR + (90 * DAY + HOUR) * 2 // 3
    assert not needs_renewal(pem, due - 2 * 10**9)
    assert needs_renewal(pem, due + 2 * 10**9)


def test_what_is_renewed_holds_beside_the_one_before_it_but_not_a_third(manager):
    registry = Registry(manager)
    secret = registry.invite("a", "worker", NOW + DAY)
    registry.redeem("a", secret, NOW, lambda role: Certificate("1", NOW))
    for before, after in (("1", "2"), ("2", "3")):
        registry.renew("a", before, lambda role, after=after: Certificate(after, NOW))
    assert [registry.is_revoked("a", serial) for serial in ("1", "2", "3")] == [True, False, False]


def test_what_was_revoked_is_not_renewed(tmp_path, manager):
    certificate = make_node(tmp_path / "node", manager)
    registry = Registry(manager)
    registry.revoke("worker-1")
    with pytest.raises(RegistryError, match="revoked"):
        registry.renew("worker-1", certificate.serial, lambda role: certificate)


def test_a_node_that_joins_anew_replaces_its_certificate(tmp_path, manager):
    first = make_node(tmp_path / "node", manager)
    second = make_node(tmp_path / "again", manager)
    registry = Registry(manager)
    assert registry.is_revoked("worker-1", first.serial)
    assert not registry.is_revoked("worker-1", second.serial)


def test_a_running_manager_sees_what_another_process_revokes(tmp_path, manager):
    certificate = make_node(tmp_path / "node", manager)
    running = Registry(manager)
    assert not running.changed()
    program = "import sys, pathlib; from sensor.pki.registry import Registry; "
    program += "Registry(pathlib.Path(sys.argv[1])).revoke('worker-1')"
    subprocess.run([sys.executable, "-c", program, manager], check=True)
    assert not running.is_revoked("worker-1", certificate.serial)
    assert running.changed()
    assert running.is_revoked("worker-1", certificate.serial)
    assert not running.changed()


def test_nodes_that_nobody_knows_are_not_let_in(manager):
    assert Registry(manager).is_revoked("worker-1", "1")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 2, "nodes": {}}', b"\xff", 10000 * b"["])
def test_a_damaged_registry_is_named_and_left_as_it_is(manager, content):
    registry = Registry(manager)
    (manager / "registry.json").write_bytes(content)
    for use in (registry.changed, lambda: registry.invite("a", "worker", NOW), lambda: Registry(manager)):
        with pytest.raises(RegistryError, match=r"registry\.json is damaged"):
            use()
    assert (manager / "registry.json").read_bytes() == content


def test_a_registry_that_is_gone_is_not_made_anew(manager):
    registry = Registry(manager)
    (manager / "registry.json").unlink()
    with pytest.raises(RegistryError, match="cannot be read"):
        registry.changed()
    with pytest.raises(RegistryError, match="cannot be read"):
        registry.invite("a", "worker", NOW)


def test_only_a_hash_of_the_secret_is_stored(manager):
    secret = Registry(manager).invite("a", "worker", NOW)
    stored = Registry(manager).nodes["a"].invitation
    assert stored.digest != secret
    assert secret not in (manager / "registry.json").read_bytes()


def redeem(manager, secret, now=NOW):
    return Registry(manager).redeem("a", secret, now, lambda role: Certificate("1", NOW))


def test_an_invitation_ends_when_it_says(manager):
    secret = Registry(manager).invite("a", "worker", NOW)
    for now in (NOW, NOW + 1):
        with pytest.raises(InvitationError, match="expired"):
            redeem(manager, secret, now)
    assert redeem(manager, secret, NOW - 1) == "worker"


def test_the_third_wrong_secret_voids_an_invitation(manager):
    secret = Registry(manager).invite("a", "worker", NOW + DAY)
    for _ in range(2):
        with pytest.raises(InvitationError, match="wrong_secret"):
            redeem(manager, bytes(16))
    assert redeem(manager, secret) == "worker"
    secret = Registry(manager).invite("a", "worker", NOW + DAY)
    for _ in range(3):
        with pytest.raises(InvitationError, match="wrong_secret"):
            redeem(manager, bytes(16))
    with pytest.raises(InvitationError, match="void"):
        redeem(manager, secret)


def test_an_invitation_replaces_the_one_before_it(manager):
    first, second = (Registry(manager).invite("a", "worker", NOW + DAY) for _ in range(2))
    with pytest.raises(InvitationError, match="wrong_secret"):
        redeem(manager, first)
    assert redeem(manager, second) == "worker"


def test_a_certificate_that_could_not_be_issued_leaves_the_invitation(manager):
    secret = Registry(manager).invite("a", "worker", NOW + DAY)

    def fail(role):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Registry(manager).redeem("a", secret, NOW, fail)
    assert redeem(manager, secret) == "worker"


def test_of_many_that_redeem_one_invitation_at_once_one_joins(manager):
    secret = Registry(manager).invite("a", "worker", NOW + DAY)
    barrier, results = threading.Barrier(8), []

    def run():
        barrier.wait()
        try:
            results.append(redeem(manager, secret))
        except InvitationError as error:
            results.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(results) == [*["not_invited"] * 7, "worker"]


def test_a_role_does_not_change_while_its_node_is_in(tmp_path, manager):
    make_node(tmp_path / "node", manager)
    with pytest.raises(RegistryError, match="has joined as worker"):
        Registry(manager).invite("worker-1", "observer", NOW + DAY)


def test_the_registry_is_full_at_1024_nodes_unless_one_was_revoked(manager, monkeypatch):
    monkeypatch.setattr("sensor.pki.registry.MOST_NODES", 3)
    registry = Registry(manager)
    for name in ("a", "b", "c"):
        registry.invite(name, "worker", NOW)
    with pytest.raises(RegistryError, match="nodes already"):
        registry.invite("d", "worker", NOW)
    registry.invite("a", "worker", NOW)
    registry.revoke("b")
    registry.revoke("a")
    registry.invite("d", "worker", NOW)
    assert list(registry.nodes) == ["c", "a", "d"]


TOKEN = Token("10.0.0.1:47701", "worker-1", bytes(range(32)), bytes(range(16)), NOW)


def test_a_token_is_one_word_that_no_shell_changes():
    assert set(TOKEN.line()) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    assert Token.parse(f" {TOKEN.line()}\n") == TOKEN


def test_what_is_shown_of_secrets_to_people_is_nothing(manager):
    credentials = Credentials.load(manager)
    for shown in (repr(TOKEN), str(TOKEN), repr(credentials), str(credentials)):
        assert str(TOKEN.secret) not in shown and str(credentials.secret) not in shown


@settings(derandomize=True, deadline=None)
@given(st.data())
def test_a_token_that_was_not_copied_whole_is_told_without_repeating_it(data):
    line = TOKEN.line()
    at = data.draw(st.integers(0, len(line) - 1))
    other = data.draw(st.sampled_from("aZ0_- é="))
    broken = data.draw(st.sampled_from([line[:at], line[:at] + other + line[at + 1 :]]))
    if broken.strip() == line:
        return
    with pytest.raises(ValueError) as caught:
        Token.parse(broken)
    assert line[10:30] not in str(caught.value)


@given(st.binary(max_size=200))
@settings(derandomize=True, deadline=None)
def test_a_token_of_other_bytes_is_refused_though_its_check_is_right(body):
    word = base64.urlsafe_b64encode(zlib.crc32(body).to_bytes(4, "big") + body).decode().rstrip("=")
    with pytest.raises(ValueError, match="token"):
        Token.parse("sensor1_" + word)
