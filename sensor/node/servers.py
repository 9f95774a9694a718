"""The servers of a manager: all addresses where it is reached, as one."""

import asyncio
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from sensor.bus.interface import BusServer, Handler, Peer
from sensor.bus.message import Message
from sensor.bus.transport import serve
from sensor.cluster.messages import CertificateRequest
from sensor.cluster.vocabulary import VOCABULARY

if TYPE_CHECKING:
    from sensor.node.cluster_admission import ClusterAdmission


class Servers:
    """`gate`: of a cluster, whose nodes show certificates but on Unix sockets; None: none are asked for."""

    def __init__(self, handler: Handler, gate: "ClusterAdmission | None" = None) -> None:
        self._handler, self._gate = handler, gate
        self._servers: list[BusServer] = []
        self._renewals: set[asyncio.Task[None]] = set()

    async def open(self, addresses: Sequence[str]) -> list[str]:
        """Listen at addresses; returns them with their ports, and where nodes join. BusError: what is in the way."""
        for address in addresses:
            gate = None if address.startswith("unix:") else self._gate
            tls, admission = (gate.tls, gate.admission) if gate else (None, None)
            server = serve(address, self._handler, VOCABULARY, tls=tls, admission=admission)
            self._servers.append(server)
            await server.start()
        joining = [await self._gate.open()] if self._gate else []
        return [*self.addresses, *joining]

    async def close(self) -> None:
        """Send what is waiting, and end all connections."""
        for server in self._servers:
            await server.close()
        if self._gate:
            await self._gate.close()
        await asyncio.gather(*self._renewals)

    @property
    def addresses(self) -> list[str]:
        """The addresses they listen at, with their ports."""
        return [server.address for server in self._servers]

    @property
    def revoked(self) -> set[str]:
        """The nodes that are let in no more."""
        return self._gate.revoked if self._gate else set()

    @property
    def pauses(self) -> int:
        """Number of pauses in which workers were not read."""
        return sum(server.counters["pauses"] for server in self._servers)

    @property
    def is_paused(self) -> bool:
        """True while nothing is read from workers."""
        return any(server.is_paused for server in self._servers)

    def pause(self) -> None:
        """Read nothing more from workers."""
        for server in self._servers:
            server.pause()

    def resume(self) -> None:
        """Read from workers again."""
        for server in self._servers:
            server.resume()

    def send(self, name: str, message: Message) -> None:
        """Let a message wait for a peer, if it is connected."""
        any(server.send(name, message) for server in self._servers)

    def broadcast(self, message: Message) -> None:
        """Let a message wait for every worker."""
        for server in self._servers:
            server.broadcast(message)

    def other_of(self, peer: Peer) -> str:
        """From where a worker of that name is connected that is another process; empty: from nowhere."""
        found = [each for server in self._servers for each in server.peers if each.name == peer.name]
        return next((each.address for each in found if each.incarnation != peer.incarnation), "")

    def has_any(self, names: Collection[str]) -> bool:
        """Return whether one of some peers is connected."""
        return any(peer.name in names for server in self._servers for peer in server.peers)

    def retire(self, peer: Peer) -> None:
        """End the connections that a peer had before it came again, perhaps by another address."""
        for server in self._servers:
            server.retire(peer.name, peer.address)

    def poll(self) -> None:
        """See whose certificates hold no more, and cut them off."""
        if self._gate:
            self._gate.poll()
            for server in self._servers:
                server.check_admission()

    def renew(self, peer: Peer, message: CertificateRequest) -> None:
        """Have a certificate made for a peer, which is sent to it; ValueError if it has none."""
        if self._gate is None or peer.identity is None:
            raise ValueError("only who has a certificate has it renewed")
        gate, identity = self._gate, peer.identity

        async def renew() -> None:
            if issued := await gate.renew(identity, message.request):
                self.send(peer.name, issued)

        task = asyncio.get_running_loop().create_task(renew())
        self._renewals.add(task)
        task.add_done_callback(self._renewals.discard)
