"""Filters: libpcap compiles tcpdump's language to BPF; Linux runs it on rings, and a Numba kernel on files.

Input is a filter's text; output is programs, and the frames that they match.

| file | what it is |
| --- | --- |
| `filter.py`, `filtered.py` | a filter over frames, and over a source |
| `libpcap.py`, `program.py` | text to a program, and the program on a socket |
| `run.py` | runs a program over frames |
| `missed.py` | the prefix that a filter needs where it matches nothing |
"""
