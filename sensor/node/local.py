"""A local cluster: a manager in this process, and workers in processes of their own that share capture files.

Every worker reads all of the files and tracks its share of the hosts, so that all see the same time. One that dies is
started anew and reads from the start; the manager has what it had delivered, so nothing is told twice.
"""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from sensor.cluster.settings import ClusterSettings
from sensor.config import Settings
from sensor.node.manager import ManagerNode
from sensor.node.output import Output
from sensor.outputs.summary import Summary

ATTEMPTS = 4
"""How often a worker is started: one that dies of its input will die of it again."""

_NEVER_S = 1e9  # a worker that is gone comes back, or is given up by name
_STOP_S = 5.0


class LocalCluster:
    """Runs `workers` processes over some inputs. `options` are those of the command line that choose detections."""

    def __init__(
        self,
        settings: Settings,
        outputs: Sequence[Output],
        *,
        workers: int,
        inputs: Sequence[str],
        options: Sequence[str],
        progress: Callable[[int, int], None],
    ) -> None:
        self._names = [f"worker-{number + 1}" for number in range(workers)]
        self._inputs, self._options, self._progress = inputs, options, progress
        self._settings, self._outputs = settings, outputs
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._node: ManagerNode | None = None
        self._stopping = False

    def stop(self) -> None:
        """Take no further block: finish with what has been read."""
        self._stopping = True
        for process in self._processes.values():
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)

    def run(self) -> Summary:
        """Run to the end of the inputs."""
        return asyncio.run(self._run())

    async def _run(self) -> Summary:
        self._node = ManagerNode(
            self._settings,
            self._outputs,
            members=self._names,
            early=False,
            cluster=ClusterSettings(deadline_s=_NEVER_S),
            until_done=True,
            progress=self._tell_progress,
        )
        with tempfile.TemporaryDirectory(prefix="sensor-") as folder:
            address = f"unix:{folder}/bus"
            tasks: list[asyncio.Task[None]] = []

            def ready(where: list[str]) -> None:
                tasks.extend(asyncio.create_task(self._supervise(name, where[0], folder)) for name in self._names)

            try:
                return await self._node.run(address, ready=ready)
            finally:
                await self._end(tasks)

    def _tell_progress(self, read: dict[str, int], packets: int) -> None:
        done = min(read.get(name, 0) for name in self._names)
        self._progress(done, packets)

    async def _supervise(self, name: str, address: str, folder: str) -> None:
        """Start a worker, and start it again if it dies before it has delivered all; give it up if it always does."""
        assert self._node is not None
        reason, attempts = "", 0
        while attempts < ATTEMPTS and not self._stopping:
            attempts += 1
            process = await asyncio.create_subprocess_exec(
                *self._command(name, address, folder), stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
            )
            self._processes[name] = process
            _, errors = await process.communicate()
            if self._node.has_delivered(name):  # whatever its exit code says of its input
                return
            reason = errors.decode(errors="replace").strip().rpartition("\n")[2]
            reason = reason or f"it ended with {process.returncode}"
        times = "once" if attempts == 1 else f"{attempts} times"
        self._node.leave(name, f"{name} died {times}, and its share is missing: {reason}")

    def _command(self, name: str, address: str, folder: str) -> list[str]:
        number = self._names.index(name)
        share = f"{number + 1}/{len(self._names)}"
        spool = Path(folder) / name
        own = ["--manager", address, "--name", name, "--share", share, "--spool", str(spool)]
        own += ["--parent", str(os.getpid())]
        replay = [part for path in self._inputs for part in ("--replay", path)]
        return [sys.executable, "-m", "sensor", "worker", *own, *replay, *self._options]

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        """Let the processes that were started here end, and end those that do not."""
        self._stopping = True
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_STOP_S)
            for process in self._processes.values():
                if late and process.returncode is None:
                    process.kill()
            await asyncio.gather(*tasks)
