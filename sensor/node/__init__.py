"""Nodes: a capture source, a worker, a manager and outputs, put together as a process runs them."""

from sensor.node.output import Output, unaccounted
from sensor.node.standalone import Standalone

__all__ = ["Output", "Standalone", "unaccounted"]
