"""Scenarios of the attacks that resemble ordinary traffic most, recorded to pcaps/attacks/ by `tools/record NAME`.

As in scans.py the scanner is 192.0.2.10 and one machine is all of 198.51.100.0/24, but for what is silenced.
"""

from attacks import amid, flags, sweeps

__all__ = ["amid", "flags", "sweeps"]
