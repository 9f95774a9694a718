"""The block loop: gives a worker the blocks of a capture source, one after the other."""

from collections.abc import Callable, Iterator

from sensor.capture import Capture
from sensor.cluster.worker import Worker
from sensor.node.batching import Batching
from sensor.packet import Block


def feed(worker: Callable[[], Worker], source: Capture, *, is_live: bool) -> Iterator[Block]:
    """Let a worker process a source to its end, and give each block when that is done.

    worker: says whose turn it is, as settings may have been read again. is_live: what comes cannot be waited for.
    """
    batching = Batching(is_live=is_live, is_there=source.progress[1] is not None)
    for block in source.blocks():
        current = worker()
        current.captured = dict(source.counters)
        if len(block.frames) or not source.seen_until:
            current.process(block, may_wait=batching.may_wait())
        else:
            current.pass_time(source.seen_until)
        current.read = source.progress[0]
        yield block
    worker().captured = dict(source.counters)
