"""Where alerts and summaries go: records come in, lines go out.

| file | what it is |
| --- | --- |
| `interface.py` | what an output is, and may rely on |
| `kinds.py` | which kinds there are, by name |
| `json_lines.py` | a record a line |
| `terminal.py`, `rows.py`, `grid.py` | a table of alerts that fits the terminal |
| `summary.py`, `stats.py` | the record that closes a run, and the one of each second |
| `outlet.py` | standard output that cannot be written, and is again |
"""
