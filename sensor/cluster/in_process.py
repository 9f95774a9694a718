"""A cluster in one process: carries messages between workers and the manager."""

from sensor import __version__
from sensor.bus.message import Message
from sensor.cluster.alerter import Told
from sensor.cluster.manager import Manager
from sensor.cluster.messages import Welcome
from sensor.cluster.worker import Worker


class InProcessBus:
    """Joins a worker and a manager within one process: messages arrive at once, and time stands still."""

    def __init__(self, worker: Worker, manager: Manager) -> None:
        self._worker, self._manager = worker, manager
        welcome = manager.hello(worker.hello(__version__, manager.digest), 0.0)
        assert isinstance(welcome, Welcome)
        worker.receive([welcome], 0.0)

    def exchange(self) -> list[Told]:
        """Carry messages until there are no more; return the resulting alerts."""
        told: list[Told] = []
        while messages := self._worker.drain(0.0):
            for message in messages:
                self._manager.receive(self._worker.name, message, 0.0)
            output = self._manager.drain()
            told += output.alerts
            answers: list[Message] = [message for _, message in output.messages]
            self._worker.receive(answers, 0.0)
        return told
