"""An observer as a process: it asks a manager, and is told."""

from sensor import __version__
from sensor.cluster.client import Client, Connected, Disconnected
from sensor.cluster.messages import Hello, Status, StatusRequest

_PATIENCE = 10
_WAIT_S = 0.5


def ask_status(address: str) -> Status:
    """How the cluster of the manager at an address is. TimeoutError says why it does not answer."""
    client = Client(address, lambda: Hello("status", "observer", __version__))
    client.start()
    reason = "it does not answer"
    try:
        for _ in range(_PATIENCE):
            for each in client.receive(_WAIT_S):
                if isinstance(each, Connected):
                    client.send(StatusRequest())
                elif isinstance(each, Disconnected):
                    raise TimeoutError(each.reason)
                elif isinstance(each, Status):
                    return each
    finally:
        client.stop()
    raise TimeoutError(reason)
