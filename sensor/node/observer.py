"""An observer as a process: it asks a manager, and is told."""

from sensor import __version__
from sensor.cluster.client import Connected, Disconnected
from sensor.cluster.messages import Hello, Refused, Status, StatusRequest
from sensor.node.contact import Contact

_PATIENCE = 10
_WAIT_S = 0.5


def ask_status(manager: Contact) -> Status:
    """How a manager's cluster is. TimeoutError says why it does not answer."""
    mine = manager.credentials
    client, _ = manager.client(lambda: Hello(mine.name if mine else "status", "observer", __version__))
    client.start()
    reason = "it does not answer"
    try:
        for _ in range(_PATIENCE):
            for each in client.receive(_WAIT_S):
                if isinstance(each, Connected):
                    client.send(StatusRequest())
                elif isinstance(each, Disconnected | Refused):
                    raise TimeoutError(each.reason)
                elif isinstance(each, Status):
                    return each
    finally:
        client.stop()
    raise TimeoutError(reason)
