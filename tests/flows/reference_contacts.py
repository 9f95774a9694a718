"""A slow, obvious table of contacts, for the slow flow table: one dict, whose entries are numbered as they come.

It knows of no hash: the table that it is compared with must have one bucket, or more than enough room.
"""

from dataclasses import dataclass

MS, SECOND = 10**6, 10**9
DAY, RETRY, SLOT = 24 * 3600 * SECOND, 3 * SECOND, 10 * SECOND


@dataclass
class Contact:
    place: int
    first: int
    last: int
    port: int = 0
    flows: int = 0
    repeated: bool = False
    tries: int = 0
    gap: int = 0
    gaps: int = 0
    open: int = 0
    told: int | None = None
    steady: bool = False
    failed: bool = False
    reached: bool = False


class Contacts:
    def __init__(self, room):
        self.room, self.held, self.evicted = room, {}, 0

    def find(self, key, now):
        found = self.held.get(key)
        return found if found and now - found.last <= DAY else None

    def make(self, key, now):
        found = self.find(key, now)
        if found is None:
            found = self.held[key] = Contact(self.place(key, now), now, now)
        return found

    def place(self, key, now):
        """Where a new contact goes: an outdated one with the same name, a free place, or the one tried longest ago."""
        if key in self.held:
            return self.held[key].place
        if len(self.held) < self.room:
            return len(self.held)
        oldest = min(self.held, key=lambda each: (self.held[each].last, self.held[each].place))
        self.evicted += now - self.held[oldest].last <= DAY
        return self.held.pop(oldest).place

    def tried(self, key, port, now):
        contact = self.make(key, now)
        contact.flows = min(contact.flows + 1, 65535)
        gap = now - contact.last
        if contact.tries and (port == contact.port or gap <= RETRY):
            return
        if contact.tries:
            self.compare(contact, gap // MS)
        contact.tries = min(contact.tries + 1, 255)
        contact.port, contact.last = port, now

    def compare(self, contact, gap):
        is_alike = contact.gaps > 0 and contact.gap / 2 <= gap <= contact.gap * 3 / 2
        contact.gaps = min(contact.gaps + 1, 255) if is_alike else 1
        contact.gap = (3 * contact.gap + gap) // 4 if is_alike else gap
        contact.steady |= contact.gaps >= 3

    def used(self, key, both_ways, now):
        """The contact, unless its use was told in this slot of time."""
        contact = self.make(key, now)
        contact.reached |= both_ways
        is_second = contact.flows > 1 and not contact.repeated
        contact.repeated |= is_second
        if contact.told == now // SLOT and not is_second:
            return None
        contact.told = now // SLOT
        return contact

    def opened(self, pair, now):
        contact = self.make(("pair", *pair), now)
        contact.open += 1
        contact.last = max(contact.last, now)

    def closed(self, pair, now):
        contact = self.find(("pair", *pair), now)
        if contact:
            contact.open = max(contact.open - 1, 0)
            contact.last = max(contact.last, now)

    def asked_many(self, socket, now):
        self.make(("socket", *socket), now).last = now
