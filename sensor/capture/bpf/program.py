"""Programs of the classic Berkeley packet filter (<linux/bpf_common.h>, <linux/filter.h>): made, checked, attached."""

import socket
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

INSTRUCTION = np.dtype([("code", "u2"), ("jt", "u1"), ("jf", "u1"), ("k", "u4")], align=True)
"""struct sock_filter: an operation, how far to jump if true and if false, and a number."""

LENGTH_MAX = 4096 - 3
"""Instructions of a program: BPF_MAXINSNS, less what `Program.for_kernel` adds."""
CELLS = 16
"""Cells of scratch memory: BPF_MEMWORDS."""

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

_NEGATIVE = 1 << 31  # offsets that Linux takes for negative, and for what is not in the frame
BESIDE = 0xFFFF_F000
"""SKF_AD_OFF: loads from here on are of what the kernel knows of a frame, beside its bytes."""
_TAG_PRESENT = BESIDE + 48  # SKF_AD_VLAN_TAG_PRESENT

_SO_ATTACH_FILTER = 26


@dataclass(frozen=True, slots=True)
class Program:
    """A checked program, that returns for a frame how many of its bytes to keep, 0 for none."""

    text: str
    """The filter that it was compiled from."""
    linktype: int
    """LINKTYPE_ of the frames that it is for."""
    code: np.ndarray
    """INSTRUCTION rows."""

    def for_kernel(self, snaplen: int) -> np.ndarray:
        """The program as the kernel is to run it, on frames from which it has taken the VLAN tag.

        Where it has taken one, the frame is let through: only with its tag back does the program mean what it says.
        """
        tagged = [(LD | W | ABS, 0, 0, _TAG_PRESENT), (JMP | JEQ | K, 0, 1, 1), (RET | K, 0, 0, snaplen)]
        code = np.concatenate([_code(tagged), self.code])
        keeps = code["code"] == RET | K
        code["k"][keeps] = np.minimum(code["k"][keeps], snaplen)
        return code


def check(code: np.ndarray) -> None:
    """Raise ValueError unless the program ends, reads and writes only what it may, and has none but known operations.

    As Linux's bpf_check_classic, but that what is not in the frame (Linux's negative offsets) is not to be had: there
    is none in a file.
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
    """Make the kernel run a program on what the socket takes from now on; no privilege is needed."""
    set_program(to, socket.SOL_SOCKET, _SO_ATTACH_FILTER, code)


def set_program(to: socket.socket, level: int, option: int, code: np.ndarray) -> None:
    """Set a socket option whose value is a program; OSError where the kernel refuses it."""
    code = np.ascontiguousarray(code, INSTRUCTION)
    program = np.zeros(1, np.dtype([("len", "u2"), ("filter", np.uintp)], align=True))  # struct sock_fprog
    program[0] = len(code), code.ctypes.data
    to.setsockopt(level, option, program.tobytes())


Line = str | tuple[int, int] | tuple[int, str] | tuple[int, int, str, str]
"""What `assemble` takes: a label; an operation with its number, or with the label to jump to; or a branch with the
labels to go to if true and if false, where "" is the next line."""


def assemble(lines: Iterable[Line]) -> np.ndarray:
    """INSTRUCTION rows of lines, with labels turned into distances.

    KeyError where there is no such label, OverflowError where a branch leads backwards or further than 255.
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
    """The program that keeps so many bytes of every frame."""
    return _code([(RET | K, 0, 0, snaplen)])


def drop_all() -> np.ndarray:
    """The program that lets nothing through."""
    return _code([(RET | K, 0, 0, 0)])


def _code(rows: list[tuple[int, int, int, int]]) -> np.ndarray:
    return np.array(rows, INSTRUCTION)
