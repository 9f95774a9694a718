"""Nodes: a capture source, a worker, a manager and outputs, put together as a process runs them.

Sources and settings come in; alerts, records and a summary go to outputs. State machines are called from here alone.

| file | what it is |
| --- | --- |
| `standalone.py`, `local.py` | a replay or a run, in one process or with workers in others |
| `worker_node.py`, `manager_node.py`, `observer.py` | the nodes of a cluster |
| `manager_address.py`, `servers.py`, `cluster_admission.py`, `renewal.py` | how they reach each other, and who may |
| `manager_store.py` | a manager's journal and alert file |
| `run_summary.py`, `run_monitor.py`, `rates.py`, `interface_counters.py` | the summary, and a record a second |
| `hints.py`, `worker_hints.py`, `unread.py`, `balance.py` | what looks wrong about a capture |
| `lateness.py`, `attendance.py`, `difference.py` | what looks wrong about a cluster |
| `block_loop.py`, `batching.py` | the blocks of a source, and those that wait for more |
| `polled_stdin.py`, `tee.py` | standard input |
| `reload.py`, `warm.py` | settings that are read again, and kernels that are loaded before packets come |
| `doctor/` | whether the machine is ready |
"""

from sensor.node.run_summary import unaccounted
from sensor.node.standalone import Standalone

__all__ = ["Standalone", "unaccounted"]
