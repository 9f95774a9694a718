"""Savefiles, libpcap's word for capture files on disk: one or many, plain or compressed, as blocks of packets."""

import os
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import BinaryIO

import numpy as np

from sensor.capture.errors import Broken, CaptureError, Damage, shown
from sensor.capture.files.merge import FEW, Merge
from sensor.capture.files.reader import COUNTERS
from sensor.capture.files.source import Source
from sensor.capture.files.stream import SMALL_WINDOW, WINDOW
from sensor.packet import FULL_BLOCK, Block
from sensor.words import amount


class Savefiles:
    """The packets of several capture files, merged by time. Made by `open_savefiles`."""

    def __init__(self) -> None:
        self._sources: list[Source] = []
        self._counts = np.zeros(len(COUNTERS), np.int64)
        self.damage: list[Damage] = []
        """Places that could not be read, in the order found. A damaged file does not stop the others."""
        self.skipped: list[str] = []
        """Files of a directory that are no captures, each as a line of text that describes it."""
        self.not_followed: list[str] = []
        """Links to folders in a directory, which may lead anywhere, pipes, and similar: each as a line of text."""
        self.seen_until = 0
        """Always 0: in files only packets tell the time."""
        self._stopping = False

    def blocks(self, size: int = FULL_BLOCK) -> Iterator[Block]:
        """Yield all packets in order, at most `size` a block; may be called once.

        A block is valid until the next one is requested. Each of its buffers belongs to one open file. Raises
        CaptureError if more files overlap in time than can be open at once.
        """
        sources = self._sources
        begun = sources if len(sources) == 1 else [source for source in sources if source.first_ts is not None]
        for block in Merge(begun, self._counts, self.damage, size).blocks():
            yield block
            if self._stopping:
                return

    def stop(self) -> None:
        """Read no further block."""
        self._stopping = True

    @property
    def counters(self) -> dict[str, int]:
        """Counts of what was read so far, and of oddities, by name."""
        return {
            "files": len(self._sources),
            "files_skipped": len(self.skipped),
            "files_damaged": len(self.damage),
            **dict(zip(COUNTERS, self._counts.tolist(), strict=True)),
        }

    @property
    def progress(self) -> tuple[int, int | None]:
        """Bytes done (compressed bytes for compressed files), and bytes in all if known."""
        sizes = [source.size for source in self._sources]
        done = sum(source.done for source in self._sources)
        return done, None if None in sizes else sum(size or 0 for size in sizes)

    def close(self) -> None:
        """Close all files."""
        for source in self._sources:
            source.close()

    def __enter__(self) -> "Savefiles":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _add(self, source: Source, *, is_alone: bool) -> None:
        """Add a file. If there are several, look at its first packet, to know when it starts."""
        self._sources.append(source)
        if not is_alone:
            source.look_ahead(self._counts)
            if source.damage and source.first_ts is None:
                self.damage.append(source.damage)


def open_savefiles(paths: Sequence[str], *, stdin: BinaryIO | None = None) -> Savefiles:
    """Open capture files, directories of them (all files below, by name), and "-" for standard input.

    Raises CaptureError if one is missing, unreadable, or no capture file, before any packet is read. A file with a
    damaged header becomes a `Damage`, as does one of an unsupported kind if there are others; in a directory, files
    that are no captures are skipped and counted. If there are several inputs, pipes included, this waits for the first
    packet of each.
    """
    opened = Savefiles()
    inputs = [found for path in paths for found in _expand(path, opened.not_followed)]
    if paths.count("-") > 1:
        raise CaptureError("-: standard input can be read only once; name it once")
    window = WINDOW if len(inputs) <= FEW else SMALL_WINDOW
    try:
        for order, (path, is_listed) in enumerate(inputs):
            try:
                opened._add(Source(path, order, stdin=stdin, window=window), is_alone=len(inputs) == 1)
            except Broken as broken:
                if is_listed and broken.foreign:
                    opened.skipped.append(f"{shown(path)}: {broken}")
                elif len(inputs) == 1 and broken.refused:
                    raise CaptureError(f"{shown(path)}: {broken}") from None
                else:
                    opened.damage.append(Damage(path, broken.offset, str(broken)))
        if not opened._sources and not opened.damage:
            raise CaptureError(_nothing(paths, len(inputs), opened.not_followed))
    except BaseException:
        opened.close()
        raise
    return opened


def _nothing(paths: Sequence[str], count: int, not_followed: Sequence[str]) -> str:
    more = f" ({not_followed[0]})" if not_followed else ""
    named = ", ".join(map(shown, paths))
    return f"{named}: no capture among {amount(count, 'file')}{more}; name one of pcap or pcapng"


def _expand(path: str, not_followed: list[str]) -> Iterator[tuple[str, bool]]:
    """Yield the files of a path, and whether a directory listing found them; note those left out in `not_followed`.

    Links to files are followed, links to folders are not: they may lead in circles, or to files already read.
    """
    if path == "-" or not os.path.isdir(path):
        yield path, False
        return
    for folder, folders, names in os.walk(path, onerror=_refuse):
        folders.sort()
        for found in (os.path.join(folder, name) for name in folders):
            if os.path.islink(found):
                not_followed.append(
                    f"{shown(found)}: a link to a folder, which is not followed; name it to read it too"
                )
        for found in (os.path.join(folder, name) for name in sorted(names)):
            if os.path.isfile(found):
                yield found, True
            else:  # opening might block
                not_followed.append(f"{shown(found)}: no file, or a link to none; name it to read it")


def _refuse(error: OSError) -> None:
    raise CaptureError(f"{shown(error.filename)}: {error.strerror}; check its permissions") from error
