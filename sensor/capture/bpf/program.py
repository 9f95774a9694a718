"""Programs of the classic Berkeley packet filter (<linux/bpf_common.h>, <linux/filter.h>): built, checked, attached."""

import socket
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

INSTRUCTION = np.dtype([("code", "u2"), ("jt", "u1"), ("jf", "u1"), ("k", "u4")], align=True)
"""struct sock_filter: an operation, the jump distances if true and if false, and a number."""

LENGTH_MAX = 4096 - 3
"""The most instructions of a program: BPF_MAXINSNS, less those that `Program.for_kernel` adds."""
CELLS = 16
"""The cells of scratch memory: BPF_MEMWORDS."""

LD, LDX, ST, STX, ALU, JMP, RET, MISC = range(8)  # class
W, H, B = 0x00, 0x08, 0x10  # size
IMM, ABS, IND, MEM, LEN, MSH = 0x00, 0x20, 0x40, 0x60, 0x80, 0xA0  # mode
ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, NEG, MOD, XOR = range(0x00, 0xB0, 0x10)
JA, JEQ, JGT, JGE, JSET = range(0x00, 0x50, 0x10)
K, X, A = 0x00, 0x08, 0x10  # operand
TAX, TXA = 0x00, 0x80

_LOADS = {LDX | B | MSH} | {LD | size | mode for size in (W, H, B) for mode in (ABS, IND)}
_MEMORY = {LD | MEM, LDX | MEM, ST, STX}
_PLAIN = {LD | IMM, LD | LEN, LDX | IMM, LDX | LEN, ALU | NEG, RET | K, RET | A, MISC | TAX, MISC | TXA}
_ARITHMETIC = {ALU | operation | of for operation in range(0x00, 0xB0, 0x10) if operation != NEG for of in (K, X)}
_BRANCHES = {JMP | test | of for test in (JEQ, JGT, JGE, JSET) for of in (K, X)}
_KNOWN = _LOADS | _MEMORY | _PLAIN | _ARITHMETIC | _BRANCHES | {JMP | JA}
_DIVISIONS, _SHIFTS = {ALU | DIV, ALU | MOD}, {ALU | LSH, ALU | RSH}

_NEGATIVE = 1 << 31  # offsets that Linux reads as negative, for data outside the frame
BESIDE = 0xFFFF_F000
"""SKF_AD_OFF: loads from here on read the kernel's metadata of a frame instead of its bytes."""
_TAG_PRESENT = BESIDE + 48  # SKF_AD_VLAN_TAG_PRESENT

_SO_ATTACH_FILTER = 26


@dataclass(frozen=True, slots=True)
class Program:
    """A checked program; it returns how many bytes of a frame to keep, 0 for none."""

    text: str
    """The filter's text."""
    linktype: int
    """LINKTYPE_ of the frames that it applies to."""
    code: np.ndarray
    """INSTRUCTION rows."""

    def for_kernel(self, snaplen: int) -> np.ndarray:
        """Return the program for the kernel, which removes VLAN tags from frames before it runs it.

        A frame whose tag was removed passes: the program is correct only with the tag restored.
        """
        tagged = [(LD | W | ABS, 0, 0, _TAG_PRESENT), (JMP | JEQ | K, 0, 1, 1), (RET | K, 0, 0, snaplen)]
        code = np.concatenate([_code(tagged), self.code])
        keeps = code["code"] == RET | K
        code["k"][keeps] = np.minimum(code["k"][keeps], snaplen)
        return code


def check(code: np.ndarray) -> None:
    """Raise ValueError unless the program ends, accesses only valid memory, and has only known operations.

    Like Linux's bpf_check_classic, except that data outside the frame (Linux's negative offsets) is refused: a file has
    none.
    """
    if not 0 < len(code) <= LENGTH_MAX:
        raise ValueError(f"it has {len(code)} instructions; 1 to {LENGTH_MAX} can be run")
    for at, (operation, jt, jf, k) in enumerate(code.tolist()):
        if operation not in _KNOWN:
            raise ValueError(f"instruction {at} is none that is known: {operation:#x}")
        after = at + 1
        furthest = k if operation == JMP | JA else max(jt, jf) if operation in _BRANCHES else 0
        if after + furthest >= len(code) and operation & 7 != RET:
            raise ValueError(f"instruction {at} leads backwards or past the end, as for protochain")
        if k >= _NEGATIVE and operation in _LOADS:
            raise ValueError(f"instruction {at} asks for what is not in a frame, as for inbound and outbound")
        if not _may(operation, k):
            raise ValueError(f"instruction {at} must not have the number {k}")


def _may(operation: int, k: int) -> bool:
    if operation in _MEMORY:
        return k < CELLS
    if operation in _DIVISIONS:
        return k != 0
    return k < 32 if operation in _SHIFTS else True


def attach(to: socket.socket, code: np.ndarray) -> None:
    """Attach a program to a socket: the kernel runs it on frames received from now on; needs no privilege."""
    set_program(to, socket.SOL_SOCKET, _SO_ATTACH_FILTER, code)


def set_program(to: socket.socket, level: int, option: int, code: np.ndarray) -> None:
    """Set a socket option whose value is a program; OSError if the kernel refuses it."""
    code = np.ascontiguousarray(code, INSTRUCTION)
    program = np.zeros(1, np.dtype([("len", "u2"), ("filter", np.uintp)], align=True))  # struct sock_fprog
    program[0] = len(code), code.ctypes.data
    to.setsockopt(level, option, program.tobytes())


Line = str | tuple[int, int] | tuple[int, str] | tuple[int, int, str, str]
"""A line for `assemble`: a label; an operation with its number, or with the label to jump to; or a branch with the
labels if true and if false, where "" is the next line."""


def assemble(lines: Iterable[Line]) -> np.ndarray:
    """Return INSTRUCTION rows of lines, with labels turned into distances.

    KeyError if a label is missing, OverflowError if a branch leads backwards or further than 255.
    """
    labels: dict[str, int] = {}
    operations: list[tuple[int, int] | tuple[int, str] | tuple[int, int, str, str]] = []
    for line in lines:
        if isinstance(line, str):
            labels[line] = len(operations)
        else:
            operations.append(line)
    rows = []
    for after, (code, k, *branches) in enumerate(operations, 1):
        jt, jf = (labels[name] - after if name else 0 for name in branches) if branches else (0, 0)
        rows.append((code, jt, jf, labels[k] - after if isinstance(k, str) else k))
    return _code(rows)


def take_all(snaplen: int) -> np.ndarray:
    """Return the program that keeps `snaplen` bytes of every frame."""
    return _code([(RET | K, 0, 0, snaplen)])


def drop_all() -> np.ndarray:
    """Return the program that drops every frame."""
    return _code([(RET | K, 0, 0, 0)])


def _code(rows: list[tuple[int, int, int, int]]) -> np.ndarray:
    return np.array(rows, INSTRUCTION)
