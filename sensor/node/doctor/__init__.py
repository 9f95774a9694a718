"""The doctor: whether this machine is ready for live capture, check by check, and what fixes what is not.

Each module gathers the facts of one matter and judges them; judging asks nothing of the machine.
"""

from sensor.node.doctor.check import Check, Mend, State
from sensor.node.doctor.examine import Question, examine
from sensor.node.doctor.fix import fix

__all__ = ["Check", "Mend", "Question", "State", "examine", "fix"]
