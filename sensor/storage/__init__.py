"""Crash-safe storage of bytes on disk; it does not interpret the bytes.

| file | what it is |
| --- | --- |
| `durable_folder.py` | locked files with atomic replacement |
| `journal.py`, `journal_format.py` | records that are appended to a file and read again after a crash |
| `alert_store.py` | the interface of a store that takes each alert once |
| `alert_file.py` | lines for people and other programs, each written once |
| `spool.py` | numbered messages that wait for an acknowledgement, in memory and on disk |
"""
