"""Runs checked filter programs over captured frames, exactly as Linux runs them over received frames.

Where Linux and libpcap's interpreter differ, this follows Linux: an index wraps around at 32 bits, and a shift by X
uses its low five bits. A load outside the captured bytes rejects the frame, as does a division by zero.
"""

import numpy as np

from sensor._jit import njit
from sensor.capture.bpf.program import (
    ABS,
    ADD,
    ALU,
    AND,
    DIV,
    IMM,
    IND,
    JA,
    JEQ,
    JGE,
    JGT,
    JMP,
    LD,
    LDX,
    LEN,
    LSH,
    MEM,
    MOD,
    MSH,
    MUL,
    NEG,
    OR,
    RET,
    RSH,
    ST,
    STX,
    SUB,
    TXA,
    A,
    H,
    W,
    X,
)

_MASK = 0xFFFF_FFFF
_REJECT = np.int64(-1)


@njit
def judge(code, data, frames, rows, memory, keep):
    """Set `keep` for the `rows` of `frames` that a checked program accepts; return the number of rejected rows.

    code: INSTRUCTION rows; data: uint8, the buffer of these frames; frames: FRAME rows; rows: int64 indices; memory:
    int64, shape (CELLS,), scratch; keep: bool.
    """
    dropped = 0
    for i in range(rows.shape[0]):
        row = rows[i]
        caplen, wirelen = np.int64(frames["caplen"][row]), np.int64(frames["wirelen"][row])
        taken = run(code, data, frames["offset"][row], caplen, wirelen, memory)
        keep[row] = taken > 0
        dropped += taken == 0
    return dropped


@njit
def run(code, data, start, caplen, wirelen, memory):
    """Return a checked program's result for the frame data[start : start + caplen]; forward jumps only, so it ends.

    code: INSTRUCTION rows; data: uint8; memory: int64, shape (CELLS,), scratch.
    """
    memory[:] = 0
    a = x = np.int64(0)
    at = np.int64(0)
    while True:
        operation, k = np.int64(code["code"][at]), np.int64(code["k"][at])
        kind = operation & 7
        if kind in (LD, LDX):
            loaded = _load(operation, k, x, data, start, caplen, wirelen, memory)
            if loaded == _REJECT:
                return np.int64(0)
            if kind == LD:
                a = loaded
            else:
                x = loaded
        elif kind == JMP:
            at += _jump(operation, a, x if operation & X else k, code["jt"][at], code["jf"][at], k)
        elif kind == ALU:
            a = _arithmetic(operation & 0xF0, a, x if operation & X else k)
            if a == _REJECT:
                return np.int64(0)
        elif kind == RET:
            return a if operation & A else k
        elif kind == ST:
            memory[k] = a
        elif kind == STX:
            memory[k] = x
        elif operation & TXA:
            a = x
        else:
            x = a
        at += 1


@njit
def _load(operation, k, x, data, start, caplen, wirelen, memory):
    mode = operation & 0xE0
    if mode == ABS:
        return _bytes(operation & 0x18, k, data, start, caplen)
    if mode == IND:
        return _bytes(operation & 0x18, x + k & _MASK, data, start, caplen)
    if mode == MSH:
        return (np.int64(data[start + k]) & 0xF) << 2 if k < caplen else _REJECT
    if mode == IMM:
        return k
    if mode == MEM:
        return memory[k]
    assert mode == LEN
    return wirelen


@njit
def _bytes(size, offset, data, start, caplen):
    if size == W:
        if offset + 4 > caplen:
            return _REJECT
        return _half(data, start + offset) << 16 | _half(data, start + offset + 2)
    if size == H:
        return _half(data, start + offset) if offset + 2 <= caplen else _REJECT
    return np.int64(data[start + offset]) if offset < caplen else _REJECT


@njit
def _half(data, at):
    return np.int64(data[at]) << 8 | np.int64(data[at + 1])


@njit
def _jump(operation, a, operand, if_true, if_false, k):
    """Return the number of instructions to skip."""
    test = operation & 0xF0
    if test == JA:
        return k
    if test == JEQ:
        holds = a == operand
    elif test == JGT:
        holds = a > operand
    elif test == JGE:
        holds = a >= operand
    else:
        holds = a & operand != 0
    return np.int64(if_true if holds else if_false)


@njit
def _arithmetic(operation, a, operand):
    if operation == ADD:
        a = a + operand
    elif operation == SUB:
        a = a - operand
    elif operation == MUL:
        a = np.int64(np.uint64(a) * np.uint64(operand) & np.uint64(_MASK))
    elif operation in (DIV, MOD):
        if operand == 0:
            return _REJECT
        a = a // operand if operation == DIV else a % operand
    elif operation == AND:
        a = a & operand
    elif operation == OR:
        a = a | operand
    elif operation == LSH:
        a = a << (operand & 31)
    elif operation == RSH:
        a = a >> (operand & 31)
    elif operation == NEG:
        a = -a
    else:
        a = a ^ operand
    return a & _MASK
