"""A local cluster: a manager in this process, and workers in processes of their own that share an input.

Of files every worker reads all and tracks its share of the hosts, so that all see the same time. One that dies is
restarted and reads from the start; the manager has what it had delivered, so nothing is told twice. Standard input
is read here and handed to all of them; one that dies cannot read it again, and is done without from then on. Of
interfaces the kernel gives each worker its share of the packets. For what one that dies has missed, the others' results
are told as incomplete.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sensor.clock import elapsed_s
from sensor.config import Settings
from sensor.node.manager_node import ManagerNode
from sensor.node.reload import reloaded
from sensor.node.run_monitor import RunMonitor
from sensor.node.tee import Recorded, Tee
from sensor.outputs.interface import Output
from sensor.outputs.summary import Summary
from sensor.privileges import User
from sensor.words import amount

log = logging.getLogger(__name__)

ATTEMPTS = 4
"""Most starts of a worker: one that dies of its input will die of it again."""
STEADY_S = 60.0
"""A worker that has captured for so long was not ill from the start: its attempts are counted again."""

_NEVER_S = 1e9  # a worker that is gone comes back, or is given up by name
_STOP_S = 5.0
_LINE_MAX = 1 << 20


@dataclass(frozen=True)
class Shared:
    """Interfaces that the workers share."""

    admit: Callable[[], socket.socket]
    """Gives a socket to the opener, for one worker."""
    user: User | None
    """Whom the workers become."""
    ready: Callable[[], None]
    """Is told when all workers capture."""
    say: Callable[[str], None]
    """Is told, line by line, what they have to say to people."""


class LocalCluster:
    """Runs `workers` processes. `options` are those of the command line that say what they read and what to detect.

    `stdin`: standard input, where that is among what they read. It may have no end, so that alerts go out at once.
    """

    def __init__(
        self,
        settings: Settings,
        outputs: Sequence[Output],
        *,
        workers: int,
        options: Sequence[str],
        progress: Callable[[int, int], None] | None = None,
        accounting: RunMonitor | None = None,
        shared: Shared | None = None,
        stdin: Recorded | None = None,
    ) -> None:
        self._tee = None if stdin is None else Tee(stdin, workers, self._note_fault)
        self._names = [f"worker-{number + 1}" for number in range(workers)]
        self._options, self._progress, self._accounting, self._shared = options, progress, accounting, shared
        self._is_ready = False
        self._settings, self._outputs = settings, outputs
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._node: ManagerNode | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False

    def stop(self) -> None:
        """Take no further block: finish with what has been read."""
        if self._tee:
            self._cut()
            return
        self._stopping = True
        for process in self._processes.values():
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)

    def reload(self, load: Callable[[], Settings]) -> None:
        """Go on with other settings; may be called by a signal handler, which must not write what this says."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._reload, load)

    def _reload(self, load: Callable[[], Settings]) -> None:
        if self._node is None or not self._is_ready or self._shared is None:
            return
        with self._shared.user.acting() if self._shared.user else contextlib.nullcontext():  # as the workers will
            settings = reloaded(load, self._settings, is_led=True)
        if settings is None:
            return
        self._settings = settings
        self._node.reload(settings)
        for process in self._processes.values():
            if process.returncode is None:
                process.send_signal(signal.SIGHUP)

    def run(self) -> Summary:
        """Run to the end of the inputs."""
        return asyncio.run(self._run())

    async def _run(self) -> Summary:
        self._node = ManagerNode(
            self._settings,
            self._outputs,
            members=self._names,
            early=self._shared is not None or self._tee is not None,
            cluster=None if self._shared else replace(self._settings.cluster, deadline_s=_NEVER_S),
            until_done=True,
            progress=self._tell_progress,
            accounting=self._accounting,
        )
        self._loop = asyncio.get_running_loop()
        with tempfile.TemporaryDirectory(prefix="sensor-") as folder:
            address = f"unix:{folder}/bus"
            tasks: list[asyncio.Task[None]] = []

            def ready(where: list[str]) -> None:
                if self._shared and self._shared.user:
                    self._shared.user.own(Path(folder))
                tasks.extend(asyncio.create_task(self._supervise(name, where[0], folder)) for name in self._names)
                if self._tee:
                    self._tee.start()

            try:
                return await self._node.run(address, ready=ready)
            finally:
                await self._end(tasks)

    def _cut(self) -> None:
        """End standard input for all at the same byte, where that may be: mostly, within a packet."""
        assert self._tee is not None
        if self._node is not None:
            self._node.pardon("-")
        self._tee.stop()

    def _note_fault(self, why: str) -> None:
        """Standard input ends before its end; called by another thread, before workers can see that."""
        assert self._node is not None and self._loop is not None
        self._loop.call_soon_threadsafe(self._node.note_damage, f"-: {why}")

    def _tell_progress(self, read: dict[str, int], packets: int) -> None:
        if self._shared and not self._is_ready and len(read) == len(self._names):
            self._is_ready = True
            self._shared.ready()
        if self._progress:
            self._progress(min(read.get(name, 0) for name in self._names), packets)

    async def _supervise(self, name: str, address: str, folder: str) -> None:
        """Start a worker, and start it again if it dies before it has delivered all; give it up if it always does."""
        assert self._node is not None
        reason, attempts, most = "", 0, 1 if self._tee else ATTEMPTS
        while attempts < most and not self._stopping:
            started, attempts = elapsed_s(), attempts + 1
            process = await self._start(name, address, folder)
            last = await self._listen(name, process)
            code = await process.wait()
            if self._node.has_delivered(name):  # whatever its exit code says of its input
                self._node.note_ended(name)
                return
            reason = f"it was ended by {signal.Signals(-code).name}" if code < 0 else last or f"it ended with {code}"
            if self._shared and not self._stopping:
                self._shared.say(f"sensor: {name} is restarted: {reason}")
            if self._shared and elapsed_s() - started > STEADY_S:
                attempts = 0
        self._give_up(name, attempts, reason)

    def _give_up(self, name: str, attempts: int, reason: str) -> None:
        """Go on without a worker: at once, and said at once, where standard input cannot be read again."""
        assert self._node is not None
        times = "once" if attempts == 1 else amount(attempts, "time")
        has_begun = self._is_ready or not self._shared
        why = f"{name} died {times}, and its share is missing: {reason}"
        if self._tee:
            why += "; standard input cannot be read again"
            log.warning("%s", why)
        self._node.leave(name, why if has_begun else "")

    async def _start(self, name: str, address: str, folder: str) -> asyncio.subprocess.Process:
        number = self._names.index(name)
        own = ["--manager", address, "--name", name, "--spool", str(Path(folder) / name), "--parent", str(os.getpid())]
        asking = self._shared.admit() if self._shared else None
        outlet = self._tee.outlets[number] if self._tee else None
        if asking is None:
            own += ["--share", f"{number + 1}/{len(self._names)}"]
        else:
            own += ["--opener", str(asking.fileno()), *(["--no-nic-counters"] if number else [])]
        self._processes[name] = process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-P", "-m", "sensor", "worker", *own, *self._options],
            stdin=asyncio.subprocess.DEVNULL if outlet is None else outlet,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_MAX,
            pass_fds=[asking.fileno()] if asking else [],
            start_new_session=True,  # a terminal's INT is for this process, which tells the others
        )
        if asking:
            asking.close()
        if outlet is not None:
            os.close(outlet)
        if self._stopping:
            process.send_signal(signal.SIGTERM)
        return process

    async def _listen(self, name: str, process: asyncio.subprocess.Process) -> str:
        """Hear a worker to its end, passing on what it says once all capture; its last line."""
        assert process.stderr is not None
        last = ""
        async for line in process.stderr:
            text = line.decode(errors="replace").strip()
            last = text or last
            if self._shared and self._is_ready and text:
                self._shared.say(f"sensor: {name}: {text.removeprefix('sensor: ')}")
        return last

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        """Let the processes that were started here end, and end those that do not."""
        self._stopping = True
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_STOP_S)
            for process in self._processes.values():
                if late and process.returncode is None:
                    process.kill()
            await asyncio.gather(*tasks)
