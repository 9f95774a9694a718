"""An observer as a process: it asks a manager, and is told."""

from typing import TypeVar

from sensor import __version__
from sensor.bus.interface import Connected, Disconnected, Failed
from sensor.bus.message import Message, Refused
from sensor.cluster.messages import Hello, KeyResult, RemoveWorker, RequestKey, Status, StatusRequest, WorkerRemoved
from sensor.node.manager_address import ManagerAddress

_PATIENCE = 10
_WAIT_S = 0.5

Answer = TypeVar("Answer", Status, KeyResult, WorkerRemoved)


def ask_status(manager: ManagerAddress) -> Status:
    """Return the status of a manager's cluster; TimeoutError says why it does not answer."""
    return _ask(manager, "status", StatusRequest(), Status)


def ask_keys(manager: ManagerAddress, request: RequestKey) -> KeyResult:
    """Return what all workers of a manager know of some keys; TimeoutError says why it does not answer."""
    return _ask(manager, "query", request, KeyResult)


def remove_worker(manager: ManagerAddress, name: str) -> str:
    """Have a worker that is gone for good not waited for; why it still is, or empty. TimeoutError: as above."""
    return _ask(manager, "remove", RemoveWorker(name), WorkerRemoved).reason


def _ask(manager: ManagerAddress, name: str, question: Message, kind: type[Answer]) -> Answer:
    mine = manager.credentials
    client, _ = manager.client(lambda: Hello(mine.name if mine else name, "observer", __version__))
    client.start()
    reason = "it does not answer"
    try:
        for _ in range(_PATIENCE):
            for each in client.receive(_WAIT_S):
                if isinstance(each, Connected):
                    client.send(question)
                elif isinstance(each, Disconnected | Refused | Failed):
                    raise TimeoutError(each.reason)
                elif isinstance(each, kind):
                    return each
    finally:
        client.stop()
    raise TimeoutError(reason)
