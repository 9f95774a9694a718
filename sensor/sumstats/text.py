"""Text as words of fixed size, so that keys and elements made of it cost what any other does, whoever chose the text.

A text of up to 8 * words - 1 bytes stands there as it is. Of a longer one there are the first bytes and a digest of the
whole (BLAKE2b, 16 bytes), so that two that begin alike are still two; it reads as its beginning, an ellipsis and the
digest. The last byte tells how many bytes there are, or that it was cut. Nothing depends on the node, so equal texts
are equal everywhere and merge.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

TEXT_WORDS = 8
"""Words of a text where nothing else is said: 63 bytes, as long as a label of a domain name may be (RFC 1035)."""

_DIGEST = 16
_CUT = 255
_LEAST_WORDS = 3
_ELLIPSIS = "…"


def text_words(texts: np.ndarray | Sequence[str | bytes], words: int = TEXT_WORDS) -> np.ndarray:
    """Texts (an array of bytes or str, or a sequence of them) as uint64 (n, words); str as UTF-8."""
    if words < _LEAST_WORDS:
        raise ValueError(f"a text needs {_LEAST_WORDS} words at least, for the digest of a long one")
    size = 8 * words
    if isinstance(texts, np.ndarray) and texts.dtype.kind == "S" and texts.dtype.itemsize < min(size, _CUT):
        return _short(np.ascontiguousarray(texts), size)
    rows = [_packed(each, size) for each in texts]
    return np.frombuffer(b"".join(rows), np.uint64).reshape(len(rows), words).copy()


def text_of(words: Sequence[int]) -> str:
    """The text of some words; bytes that are no UTF-8 come back as \\xNN."""
    packed = np.array(words, np.uint64).tobytes()
    if packed[-1] != _CUT:
        return packed[: packed[-1]].decode(errors="backslashreplace")
    start, digest = packed[: -1 - _DIGEST], packed[-1 - _DIGEST : -1]
    return f"{start.decode(errors='ignore')}{_ELLIPSIS}{digest.hex()}"


def _short(texts: np.ndarray, size: int) -> np.ndarray:
    """The fast way, for a column that cannot hold a text which would have to be cut."""
    packed = np.zeros((len(texts), size), np.uint8)
    width = texts.dtype.itemsize
    packed[:, :width] = texts.view(np.uint8).reshape(len(texts), width)
    packed[:, -1] = np.char.str_len(texts)
    return packed.view(np.uint64)


def _packed(text: str | bytes, size: int) -> bytes:
    data = _encoded(text) if isinstance(text, str) else text
    if len(data) < min(size, _CUT):
        return data.ljust(size - 1, b"\0") + bytes([len(data)])
    digest = hashlib.blake2b(data, digest_size=_DIGEST).digest()
    return data[: size - 1 - _DIGEST].ljust(size - 1 - _DIGEST, b"\0") + digest + bytes([_CUT])


def _encoded(text: str) -> bytes:
    """As UTF-8; what stands for a byte that was none (PEP 383) is that byte again."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")
