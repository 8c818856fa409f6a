"""Reading a kept frame again never fails, whatever lies in what the decoder skipped."""

from __future__ import annotations

from decimal import Decimal
from math import inf

import pytest

from crossfeed.model.raw import read_exactly, read_message


def test_an_ordinary_frame_is_read_as_it_is():
    assert read_message(b'{"p":"1.50","n":[1,2.5,null]}') == {"p": "1.50", "n": [1, 2.5, None]}
    assert read_exactly(b'{"n":1.10}') == {"n": Decimal("1.10")}


@pytest.mark.fault("D12")
@pytest.mark.parametrize("read", [read_message, read_exactly])
def test_bytes_that_are_no_text_are_shown_as_such(read):
    assert read(b'{"a\xff":"b\xe5"}') == {"a�": "b�"}


@pytest.mark.fault("D03")
def test_numbers_beyond_all_floats_are_shown_as_well_as_can_be():
    assert read_message(b'{"a":1e999}') == {"a": inf}
    assert read_exactly(b'{"a":1e999}') == {"a": Decimal("1e999")}
    huge = b"1e99999999999999999999"
    assert read_exactly(b'{"a":%s}' % huge) == {"a": huge.decode()}


@pytest.mark.fault("D03")
@pytest.mark.parametrize("read", [read_message, read_exactly])
def test_a_number_of_absurd_length_stays_a_text(read):
    assert read(b'{"a":1e999,"b":%s}' % (b"9" * 5_000))["b"] == "9" * 5_000
