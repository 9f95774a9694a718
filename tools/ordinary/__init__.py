"""Scenarios of ordinary traffic, a file for each family: recorded to pcaps/ordinary/ by `tools/record NAME`."""

from ordinary import files, monitoring, names, neighbours, peers, servers, voice, wan, web

__all__ = ["files", "monitoring", "names", "neighbours", "peers", "servers", "voice", "wan", "web"]
