"""Capture files: pcap and pcapng, compressed or not, one or many, from disk or from a pipe.

Input is paths; output is blocks of frames, in order of time.

| file | what it is |
| --- | --- |
| `savefile.py`, `merge.py`, `source.py` | one or many files as one source, merged by time |
| `stream.py`, `pipe.py`, `compressed.py`, `byte_order.py` | the bytes of a file |
| `reader.py`, `pcap.py`, `pcapng.py`, `pcapng_interface.py` | the two formats |
"""
