"""Enrolment over real TLS: a token lets one node in, once; whoever else comes is refused, counted, and told little."""

import asyncio
import contextlib
import hashlib
import logging
import shutil
import socket
import ssl
import threading
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.bus.message import Refused
from sensor.bus.tls import client_context, pinned_context, server_context
from sensor.cluster.enrol import Enrolled, EnrolmentLimits, EnrolmentRequest, EnrolmentServer, Offer, frame
from sensor.cluster.join import EnrolmentError, join
from sensor.pki.authority import new_key, new_request
from sensor.pki.credentials import AUTHORITY, Credentials, CredentialsError, fingerprint
from sensor.pki.registry import Registry
from sensor.pki.token import Token
from tests.cluster.certificates import DAY, NOW, make_cluster, make_node

PATIENCE_S = 10.0
QUICK = EnrolmentLimits(deadline_s=0.4, linger_s=0.4)
REQUEST = new_request(new_key())


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.CRITICAL)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    make_cluster(folder := tmp_path_factory.mktemp("template") / "manager")
    return folder


@pytest.fixture
def manager(tmp_path, template):
    return shutil.copytree(template, tmp_path / "manager")


@contextlib.contextmanager
def serving(manager, limits=None, now=lambda: NOW):
    """An enrolment server in a thread of its own, and its address."""
    loop, stopping = asyncio.new_event_loop(), asyncio.Event()
    ready, found = threading.Event(), []

    async def run():
        server = EnrolmentServer(manager, limits=limits, now=now)
        found.extend([server, await server.start("127.0.0.1:0")])
        ready.set()
        await stopping.wait()
        await server.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        assert ready.wait(PATIENCE_S)
        yield found
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def invite(manager, address, name="worker-1", role="worker", expires=NOW + DAY):
    secret = Registry(manager).invite(name, role, expires)
    return Token(address, name, fingerprint(manager), secret, expires)


class Caller:
    """Somebody who talks to an enrolment server as no node of ours would."""

    def __init__(self, manager, address):
        host, port = address.rsplit(":", 1)
        raw = socket.create_connection((host, int(port)), PATIENCE_S)
        context = pinned_context(ssl.PEM_cert_to_DER_cert((manager / AUTHORITY).read_text()))
        try:
            self.tls = context.wrap_socket(raw, server_hostname=host)
        except OSError:
            raw.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tls.close()

    def read(self, kind):
        length = int.from_bytes(self._exactly(4), "big")
        return msgspec.msgpack.decode(self._exactly(length), type=kind)

    def _exactly(self, n):
        data = b""
        while len(data) < n:
            more = self.tls.recv(n - len(data))
            if not more:
                raise EOFError
            data += more
        return data


def ask(manager, address, data):
    """What the server answers to some bytes."""
    with Caller(manager, address) as caller:
        caller.read(Offer)
        caller.tls.sendall(data)
        return caller.read(Enrolled | Refused)


def request(token, **changes):
    return frame(EnrolmentRequest(**{"name": token.name, "secret": token.secret, "request": REQUEST} | changes))


@pytest.mark.parametrize("role", ["worker", "observer"])
def test_a_token_makes_a_node_of_the_cluster(tmp_path, manager, role):
    with serving(manager) as (server, address):
        joined = join(invite(manager, address, "node-1", role), tmp_path / "node")
    mine = Credentials.load(manager)
    assert joined == Credentials.load(tmp_path / "node")
    assert joined == Credentials(mine.cluster, "node-1", role, mine.address, mine.secret)
    assert client_context(tmp_path / "node").cert_store_stats()["x509_ca"] == 1
    assert Registry(manager).nodes["node-1"].state == "joined"
    assert server.counters["enrolled"] == 1


def test_a_token_works_once(tmp_path, manager):
    with serving(manager) as (server, address):
        token = invite(manager, address)
        join(token, tmp_path / "node")
        with pytest.raises(EnrolmentError, match="it was used"):
            join(token, tmp_path / "again")
    assert server.counters["not_invited"] == 1
    assert not Credentials.exist(tmp_path / "again")


def test_a_token_that_two_use_at_once_works_for_one(manager):
    with serving(manager) as (server, address):
        token = invite(manager, address)
        with Caller(manager, address) as one, Caller(manager, address) as other:
            for caller in (one, other):
                caller.read(Offer)
            for caller in (one, other):
                caller.tls.sendall(request(token))
            answers = [caller.read(Enrolled | Refused) for caller in (one, other)]
    assert sorted(type(answer).__name__ for answer in answers) == ["Enrolled", "Refused"]
    assert server.counters["enrolled"] == server.counters["not_invited"] == 1


def test_whoever_may_not_join_is_told_the_same_and_counted_by_why(manager):
    now = [NOW]
    with serving(manager, now=lambda: now[0]) as (server, address):
        token = invite(manager, address)
        wrong = [ask(manager, address, request(token, secret=bytes(16))) for _ in range(3)]
        void = ask(manager, address, request(token))
        unknown = ask(manager, address, request(token, name="nobody"))
        late = invite(manager, address, "late", expires=NOW + 1)
        now[0] = NOW + 1
        expired = ask(manager, address, request(late))
    assert {*wrong, void, unknown, expired} == {wrong[0]}
    assert dict(server.counters) == {"wrong_secret": 3, "void": 1, "not_invited": 1, "expired": 1}


def test_a_token_may_be_wrong_twice(manager):
    with serving(manager) as (_, address):
        token = invite(manager, address)
        for _ in range(2):
            ask(manager, address, request(token, secret=bytes(16)))
        assert isinstance(ask(manager, address, request(token)), Enrolled)


def test_a_bad_certificate_request_does_not_use_up_the_token(manager):
    with serving(manager) as (server, address):
        token = invite(manager, address)
        refused = ask(manager, address, request(token, request=b"garbage"))
        assert refused == Refused("the request for a certificate cannot be read")
        assert isinstance(ask(manager, address, request(token)), Enrolled)
    assert server.counters["bad_certificate_request"] == 1


@pytest.mark.parametrize(
    ("size", "reason"), [(0, "not a request"), (4096, "not a request"), (4097, "4096 bytes at most")]
)
def test_a_request_has_4096_bytes_at_most(manager, size, reason):
    with serving(manager) as (server, address):
        answer = ask(manager, address, size.to_bytes(4, "big") + bytes(size))
    assert reason in answer.reason
    assert server.counters["oversize"] == (size > 4096)


def test_a_request_that_only_claims_to_be_long_is_refused_at_once(manager):
    with serving(manager) as (_, address):
        assert "at most" in ask(manager, address, b"\xff\xff\xff\xff").reason


@pytest.mark.parametrize("said", [b"", b"\0", b"\0\0\1\0half"])
def test_who_is_slow_is_told_and_makes_room(manager, said):
    with serving(manager, QUICK) as (server, address), Caller(manager, address) as caller:
        caller.read(Offer)
        caller.tls.sendall(said)
        assert caller.read(Refused).reason == "nothing whole came within 0.4 s"
    assert server.counters["slow"] == 1


def test_who_does_not_even_begin_tls_is_cut_off(manager):
    with serving(manager, QUICK) as (server, address):
        host, port = address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), PATIENCE_S) as caller:
            assert caller.recv(1) == b""
    assert server.counters["slow"] == 1


def test_what_is_no_tls_is_cut_off_and_counted(manager):
    with serving(manager) as (server, address):
        host, port = address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), PATIENCE_S) as caller:
            caller.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                while caller.recv(4096):
                    pass
    assert server.counters["broken_connections"] == 1


def test_tls_before_1_3_is_refused(manager):
    with serving(manager) as (server, address):
        host, port = address.rsplit(":", 1)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with socket.create_connection((host, int(port)), PATIENCE_S) as raw, pytest.raises(ssl.SSLError):
            context.wrap_socket(raw)
    assert server.counters["broken_connections"] == 1


@pytest.mark.parametrize(
    ("limits", "counter"),
    [({"connections": 2}, "too_many"), ({"connections_of_address": 2}, "too_many_of_address")],
)
def test_connections_beyond_the_most_are_closed_until_one_ends(manager, limits, counter):
    with serving(manager, EnrolmentLimits(**limits)) as (server, address):
        with Caller(manager, address) as one, Caller(manager, address) as other:
            for caller in (one, other):
                caller.read(Offer)
            with pytest.raises(OSError), Caller(manager, address) as third:
                third.read(Offer)
            assert server.counters[counter] == 1
        token = invite(manager, address)
        assert isinstance(eventually(lambda: ask(manager, address, request(token))), Enrolled)


def eventually(attempt):
    """The first result of an attempt that is not cut off; each waits for the server."""
    for _ in range(100):
        with contextlib.suppress(OSError, EOFError):
            return attempt()
    raise AssertionError("it never was let in")


@pytest.fixture(scope="module")
def long_running(template, tmp_path_factory):
    folder = shutil.copytree(template, tmp_path_factory.mktemp("fuzz") / "manager")
    logging.getLogger("sensor.cluster.enrol").setLevel(logging.CRITICAL)
    with serving(folder, replace(QUICK, connections_of_address=16)) as (server, address):
        yield folder, server, address
    logging.getLogger("sensor.cluster.enrol").setLevel(logging.NOTSET)


_MALFORMED = st.binary(max_size=300) | st.dictionaries(st.text(), st.integers(0, 9)).map(msgspec.msgpack.encode)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(_MALFORMED)
def test_garbage_is_refused_with_a_reason(long_running, body):
    manager, _, address = long_running
    answer = eventually(lambda: ask(manager, address, len(body).to_bytes(4, "big") + body))
    assert isinstance(answer, Refused)


@pytest.mark.parametrize("body", [b"\x91" * 4096, b"\x81\xa1x" * 1300, b"\x83\xa4name\xa1\xff"])
def test_what_is_nested_deeply_or_no_text_is_refused(long_running, body):
    manager, _, address = long_running
    answer = eventually(lambda: ask(manager, address, len(body).to_bytes(4, "big") + body))
    assert answer == Refused("this is not a request of this version of the sensor")


def test_a_registry_that_cannot_be_written_lets_nobody_in_and_is_not_explained_to_strangers(manager):
    with serving(manager) as (server, address):
        token = invite(manager, address)
        (manager / "registry.json").write_text("{")
        answer = ask(manager, address, request(token))
    assert answer == Refused("the manager cannot write down who joins; its log says more")
    assert server.counters["registry"] == 1


def test_a_node_says_nothing_to_another_authority(tmp_path, manager):
    make_cluster(tmp_path / "other")
    with serving(tmp_path / "other") as (server, address):
        token = invite(manager, address)
        with pytest.raises(EnrolmentError, match="another authority than the token says; nothing was sent"):
            join(token, tmp_path / "node")
    assert set(server.counters) <= {"offers"}
    assert not Credentials.exist(tmp_path / "node")


def join_at(context, said, manager, folder):
    """What a node that joins says to a server which says that, and how it gives up."""
    heard = []

    async def serve(reader, writer):
        with contextlib.suppress(OSError):
            writer.write(said)
            heard.append(await reader.read())
        writer.transport.abort()

    async def run():
        listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        async with listener:
            token = invite(manager, f"127.0.0.1:{listener.sockets[0].getsockname()[1]}")
            with pytest.raises(EnrolmentError) as caught:
                await asyncio.to_thread(join, token, folder)
        return b"".join(heard), str(caught.value)

    return asyncio.run(run())


def test_a_node_says_nothing_to_who_only_knows_the_authority(tmp_path, manager):
    """A worker of the cluster shows the right authority, but cannot prove that it is the manager."""
    make_node(tmp_path / "rogue", manager, "rogue")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "rogue" / "node.pem", tmp_path / "rogue" / "node.key")
    offer = frame(Offer(ssl.PEM_cert_to_DER_cert((manager / AUTHORITY).read_text())))
    heard, told = join_at(context, offer, manager, tmp_path / "node")
    assert heard == b""
    assert "is not the manager of the token's cluster" in told


@pytest.mark.parametrize("said", [b"\xff\xff\xff\xff", b"\0\0\x40\x01", b"\0\0\0\1\xc0", b"\0\0\0\0"])
def test_what_is_another_server_is_told_at_once(tmp_path, manager, said):
    heard, told = join_at(server_context(manager, enrolment=True), said, manager, tmp_path / "node")
    assert heard == b""
    assert "is not a manager of this version" in told


def test_where_nobody_listens_the_token_is_kept(tmp_path, manager):
    with serving(manager) as (_, address):
        token = invite(manager, address)
    with pytest.raises(EnrolmentError, match="cannot be reached"):
        join(token, tmp_path / "node")
    with serving(manager) as (_, address):
        assert join(Token(address, token.name, token.fingerprint, token.secret, token.expires), tmp_path / "node")


@pytest.mark.parametrize("said", [b"", b"\0\0\0\1\xc0", b"\xff\xff\xff\xff", b"SSH-2.0-OpenSSH"])
def test_what_is_no_manager_is_told(tmp_path, manager, said):
    def serve(listener):
        with contextlib.suppress(OSError), listener.accept()[0] as connection:
            connection.sendall(said)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        token = invite(manager, f"127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(EnrolmentError, match="cannot be reached"):
            join(token, tmp_path / "node")
        thread.join()


def test_a_node_does_not_join_over_another_and_keeps_the_token(tmp_path, manager):
    make_node(tmp_path / "node", manager)
    before = {each.name: each.read_bytes() for each in (tmp_path / "node").iterdir()}
    expected = pytest.raises(CredentialsError, match="is that of worker worker-1 already")
    with serving(manager) as (server, address), expected:
        join(invite(manager, address, "worker-2"), tmp_path / "node")
    assert not server.counters
    after = {each.name: each.read_bytes() for each in (tmp_path / "node").iterdir()}
    assert {name: after[name] for name in before} == before


def test_the_fingerprint_is_that_of_the_certificate_as_other_tools_tell_it(manager):
    der = ssl.PEM_cert_to_DER_cert((manager / AUTHORITY).read_text())
    assert fingerprint(manager) == hashlib.sha256(der).digest()
