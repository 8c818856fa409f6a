"""RFC 6455's rules for frames, without a socket: the Autobahn suite's cases for a client."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.errors import ProtocolViolationError
from crossfeed.transport.framing import Close, FrameRules, Message, Ping, Pong

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def rules(bytes_max: int = 1000, fragments_max: int = 8) -> FrameRules:
    """Make rules with small limits."""
    return FrameRules(bytes_max=bytes_max, fragments_max=fragments_max)


def violates(
    rule: FrameRules, opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0
) -> int:
    """Return the close code of the violation that the frame must be."""
    with pytest.raises(ProtocolViolationError) as caught:
        rule.receive(opcode, payload, is_final=fin, rsv=rsv)
    return caught.value.close_code


@given(
    text=st.text(max_size=200),
    cuts=st.lists(st.integers(0, 800), max_size=6),
    pings=st.booleans(),
)
def test_fragments_are_joined_whatever_the_cuts(text: str, cuts: list[int], *, pings: bool) -> None:
    """Fragments are joined whatever the cuts."""
    payload = text.encode()
    edges = [0, *sorted(min(cut, len(payload)) for cut in cuts), len(payload)]
    parts = [payload[a:b] for a, b in pairwise(edges)]
    rule = rules()
    for index, part in enumerate(parts):
        is_last = index == len(parts) - 1
        done = rule.receive(TEXT if index == 0 else CONT, part, is_final=is_last)
        if is_last:
            assert done == Message(payload, is_text=True)
        else:
            assert done is None
            assert rule.fragments == index + 1
            if pings:
                assert rule.receive(PING, b"p", is_final=True) == Ping(b"p")
    assert rule.fragments == 0


def test_control_frames() -> None:
    """Control frames."""
    rule = rules()
    assert rule.receive(PING, b"x" * 125, is_final=True) == Ping(b"x" * 125)
    assert rule.receive(PONG, b"", is_final=True) == Pong(b"")
    assert rule.receive(CLOSE, b"", is_final=True) == Close(1005, "")
    assert rule.receive(CLOSE, b"\x03\xe8bye", is_final=True) == Close(1000, "bye")


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
def test_reserved_bits_are_refused(opcode: int, rsv: int) -> None:
    """Reserved bits are refused."""
    assert violates(rules(), opcode, rsv=rsv) == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_reserved_opcodes_are_refused(opcode: int) -> None:
    """Reserved opcodes are refused."""
    assert violates(rules(), opcode) == 1002


def test_control_frames_are_whole_and_short() -> None:
    """Control frames are whole and short."""
    assert violates(rules(), PING, fin=False) == 1002
    assert violates(rules(), CLOSE, fin=False) == 1002
    assert violates(rules(), PONG, b"x" * 126) == 1002


def test_the_order_of_fragments() -> None:
    """The order of fragments."""
    assert violates(rules(), CONT, b"x") == 1002
    assert violates(rules(), CONT, b"x", fin=False) == 1002
    rule = rules()
    rule.receive(TEXT, b"a", is_final=False)
    assert violates(rule, TEXT, b"b") == 1002
    rule = rules()
    rule.receive(TEXT, b"a", is_final=False)
    assert rule.receive(CONT, b"b", is_final=True) == Message(b"ab", is_text=True)
    assert violates(rule, CONT, b"c") == 1002


@pytest.mark.fault("D14")
def test_the_joined_size_is_limited() -> None:
    """The joined size is limited."""
    rule = rules(bytes_max=10)
    assert rule.receive(TEXT, b"x" * 10, is_final=True) == Message(b"x" * 10, is_text=True)
    assert violates(rule, TEXT, b"x" * 11) == 1009
    rule = rules(bytes_max=10)
    rule.receive(BINARY, b"x" * 6, is_final=False)
    assert violates(rule, CONT, b"x" * 5, fin=False) == 1009


@pytest.mark.fault("D14")
def test_the_number_of_fragments_is_limited_even_if_they_are_empty() -> None:
    """The number of fragments is limited even if they are empty."""
    rule = rules(fragments_max=8)
    rule.receive(TEXT, b"", is_final=False)
    for _ in range(7):
        assert rule.receive(CONT, b"", is_final=False) is None
    assert violates(rule, CONT, b"", fin=False) == 1009


@pytest.mark.fault("D12")
@pytest.mark.parametrize(
    "payload",
    [
        b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80",  # a lone surrogate
        b"\xf4\x90\x80\x80",  # beyond U+10FFFF
        b"ok \xce",  # cut off
        b"\xe2\x82",
    ],
)
def test_text_that_is_not_utf8_is_refused(payload: bytes) -> None:
    """Text that is not UTF-8 is refused."""
    assert violates(rules(), TEXT, payload) == 1007
    rule = rules()
    rule.receive(TEXT, payload[:1], is_final=False)
    assert violates(rule, CONT, payload[1:]) == 1007
    assert rules().receive(BINARY, payload, is_final=True) == Message(payload, is_text=False)


def test_a_character_may_be_cut_by_fragments() -> None:
    """A character may be cut by fragments."""
    rule = rules()
    assert rule.receive(TEXT, b"\xe2\x82", is_final=False) is None
    assert rule.receive(CONT, b"\xac", is_final=True) == Message("€".encode(), is_text=True)


@pytest.mark.fault("C05")
@pytest.mark.parametrize(
    "code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]
)
def test_forbidden_close_codes_are_refused(code: int) -> None:
    """Forbidden close codes are refused."""
    assert violates(rules(), CLOSE, code.to_bytes(2, "big")) == 1002


@pytest.mark.parametrize("code", [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999])
def test_other_close_codes_are_taken(code: int) -> None:
    """Other close codes are taken."""
    payload = code.to_bytes(2, "big") + "très bien".encode()
    assert rules().receive(CLOSE, payload, is_final=True) == Close(code, "très bien")


def test_broken_close_payloads_are_refused() -> None:
    """Broken close payloads are refused."""
    assert violates(rules(), CLOSE, b"\x03") == 1002
    assert violates(rules(), CLOSE, b"\x03\xe8\xff") == 1007


@given(
    frames=st.lists(
        st.tuples(st.integers(0, 15), st.binary(max_size=130), st.booleans(), st.integers(0, 7)),
        max_size=30,
    )
)
def test_any_frames_end_in_a_message_or_a_typed_refusal(
    frames: list[tuple[int, bytes, bool, int]],
) -> None:
    """Any frames end in a message or a typed refusal."""
    rule = rules(bytes_max=300, fragments_max=4)
    for opcode, payload, fin, rsv in frames:
        try:
            done = rule.receive(opcode, payload, is_final=fin, rsv=rsv)
        except ProtocolViolationError as exc:
            assert exc.close_code in (1002, 1007, 1009)  # noqa: PT017 - or none is raised
            return
        if isinstance(done, Message):
            assert len(done.payload) <= 300
            if done.is_text:
                done.payload.decode()
        assert rule.fragments <= 4
        assert rule.fragmented_bytes <= 300
