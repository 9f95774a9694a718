"""The bus: messages between nodes over TCP with TLS, or a Unix socket. It knows nothing of what they mean.

Messages go in at one end and come out at the other; who may send which says a `Vocabulary` of the owner.

| file | what it is |
| --- | --- |
| `interface.py` | both ends as their owners see them, and the contract |
| `message.py`, `vocabulary.py` | what every message is, and what the bus has to know of those that it carries |
| `transport.py`, `endpoint.py` | both ends by the scheme of an address |
| `server.py`, `connection.py`, `outbox.py`, `listener.py` | the manager's end, its connections, and their queues |
| `client.py` | the other end, in a thread of its own |
| `codec.py` | messages as bytes, and back; all that is out of bounds is named |
| `tls.py` | who is at the other end, by certificates |
"""
