"""Filters: libpcap compiles tcpdump's language to BPF, the kernel runs it on rings, and a kernel of ours on files.

A filter's text comes in; programs, and which frames they let through, go out.

| file | what it is |
| --- | --- |
| `filter.py`, `filtered.py` | a filter over frames, and over a source |
| `libpcap.py`, `program.py` | text to a program, and the program on a socket |
| `run.py` | runs a program over frames |
| `missed.py` | what a filter would have to begin with, where it matches nothing |
"""
