"""Certificates of a cluster's own authority. They know nothing of the bus.

| file | what it is |
| --- | --- |
| `credentials.py` | a node's folder |
| `authority.py` | makes a cluster, and signs what nodes ask for |
| `registry.py` | which nodes were invited, have joined, and are revoked |
| `token.py` | what an invitation looks like |
"""
