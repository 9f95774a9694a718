"""Addresses as two words, against the standard library."""

import ipaddress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.address import in_network, to_address, to_words

ADDRESSES = st.ip_addresses().filter(lambda a: a.version == 4 or a.ipv4_mapped is None)


@settings(derandomize=True, deadline=None)
@given(ADDRESSES)
def test_an_address_survives_the_way_through_words(address):
    assert to_address(*to_words(address)) == address
    assert to_words(str(address)) == to_words(address)


def test_text_that_is_no_address_is_refused():
    with pytest.raises(ValueError, match="does not appear"):
        to_words("10.0.0.256")


@settings(derandomize=True, deadline=None)
@given(st.lists(ADDRESSES, min_size=1), ADDRESSES, st.data())
def test_membership_of_a_network_agrees_with_the_standard_library(addresses, base, data):
    length = data.draw(st.integers(0, base.max_prefixlen))
    network = ipaddress.ip_network((base, length), strict=False)
    words = np.array([to_words(each) for each in [*addresses, base]], np.uint64)
    expected = [each in network for each in [*addresses, base]]
    if network.version == 6 and ipaddress.ip_address("::ffff:0:0") in network:
        expected = [inside or each.version == 4 for inside, each in zip(expected, [*addresses, base], strict=True)]
    assert in_network(words[:, 0], words[:, 1], network).tolist() == expected
