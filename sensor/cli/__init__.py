"""The command line: a command a file, and what commands share. Nothing else reads arguments or exits.

| file | what it is |
| --- | --- |
| `main.py`, `streams.py` | the group of commands, exit codes, standard output and error |
| `replay.py`, `run.py`, `halt.py` | capture files and interfaces on one host, and what a signal ends |
| `worker.py`, `manager.py`, `cluster.py`, `status.py`, `query.py` | clusters |
| `detections.py`, `events.py`, `interfaces.py`, `doctor.py` | what there is, and whether it works |
| `capture.py`, `capture_options.py`, `detection_options.py`, `state_dir.py`, `stats.py` | options that commands share |
| `table.py`, `progress.py`, `status_line.py` | what people read meanwhile |
"""
