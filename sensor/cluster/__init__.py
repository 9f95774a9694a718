"""Workers, a manager, and the bus between them."""
