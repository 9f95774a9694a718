"""The cluster: workers that observe, and a manager that merges, judges and alerts.

Messages and time go in, messages and alerts come out: state machines without sockets, files or clocks. How they work
together, file by file, says README.md here. The bus between them is `sensor.bus`.
"""
