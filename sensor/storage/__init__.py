"""What is kept on disk over a crash, as bytes. It knows nothing of what they mean.

| file | what it is |
| --- | --- |
| `durable_folder.py` | files that are whole or not there, and locked |
| `journal.py`, `journal_format.py` | records that are added to a file, and read again after a crash |
| `alert_store.py` | what takes alerts, each once |
| `alert_file.py` | lines for people and other programs, each of them once |
| `spool.py` | numbered messages that wait for an acknowledgement, in memory and on disk |
"""
