"""The cluster: workers that observe, and a manager that merges, judges and alerts.

State machines without sockets, files or clocks: their inputs are messages and time, their outputs messages and alerts.
README.md here describes file by file how they work together. The bus between them is `sensor.bus`.
"""
