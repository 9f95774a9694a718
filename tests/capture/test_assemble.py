"""Programs written with labels become ones with distances."""

import pytest

from sensor.capture.bpf.program import JA, JEQ, JMP, RET, K, assemble

STEP = (RET | K, 0)


def test_labels_become_distances():
    lines = [(JMP | JEQ | K, 7, "end", ""), (JMP | JA, "end"), "unused", (RET | K, 1), "end", (RET | K, 2)]
    rows = assemble(lines).tolist()
    assert rows == [(JMP | JEQ | K, 2, 0, 7), (JMP | JA, 0, 0, 1), (RET | K, 0, 0, 1), (RET | K, 0, 0, 2)]


def test_a_branch_reaches_255_instructions_and_a_jump_further():
    assert assemble([(JMP | JEQ | K, 7, "", "end"), *[STEP] * 255, "end", STEP])[0]["jf"] == 255
    with pytest.raises(OverflowError):
        assemble([(JMP | JEQ | K, 7, "", "end"), *[STEP] * 256, "end", STEP])
    assert assemble([(JMP | JA, "end"), *[STEP] * 300, "end", STEP])[0]["k"] == 300


@pytest.mark.parametrize("jump", [(JMP | JA, "start"), (JMP | JEQ | K, 7, "start", "")])
def test_there_is_no_way_back(jump):
    with pytest.raises(OverflowError):
        assemble(["start", STEP, jump, STEP])


def test_a_label_that_is_nowhere_is_an_error():
    with pytest.raises(KeyError, match="nowhere"):
        assemble([(JMP | JA, "nowhere"), STEP])
