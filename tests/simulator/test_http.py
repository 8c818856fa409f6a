"""HTTP/1.1 requests and answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfeed.simulator.http import (
    HttpError,
    RequestParser,
    Response,
    json_response,
    write_response,
)

GET = b"GET /a%20b/c?x=1&y=%2F&x=2 HTTP/1.1\r\nHost: h\r\nX-Two: 1\r\nx-two: 2\r\n\r\n"


@given(st.integers(1, 40))
def test_requests_come_whole_however_they_are_cut(step):
    post = b"POST /faults HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
    stream, parser, found = GET + post + GET, RequestParser(), []
    for at in range(0, len(stream), step):
        found.extend(parser.feed(stream[at : at + step]))
    assert [request.method for request in found] == ["GET", "POST", "GET"]
    first = found[0]
    assert (first.path, first.params) == ("/a b/c", {"x": "2", "y": "/"})
    assert first.headers["x-two"] == "2"
    assert found[1].body == b"hello"


def test_what_follows_an_upgrade_is_kept():
    parser = RequestParser()
    (request,) = parser.feed(b"GET / HTTP/1.1\r\nUpgrade: WebSocket\r\n\r\n\x81\x80abcd")
    assert request.is_upgrade
    assert parser.rest == b"\x81\x80abcd"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"x" * 70_000, 431),
    ],
)
def test_bad_requests(data, status):
    with pytest.raises(HttpError) as caught:
        RequestParser().feed(data)
    assert caught.value.status == status


def test_answers_have_a_length():
    text = write_response(json_response({"a": 1}, 429, {"Retry-After": "3"}), is_last=True)
    assert text == (
        b"HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\n"
        b"Content-Length: 7\r\nRetry-After: 3\r\nConnection: close\r\n\r\n" + b'{"a":1}'
    )
    assert write_response(Response(418)).startswith(b"HTTP/1.1 418 ")
    assert write_response(Response(799)).startswith(b"HTTP/1.1 799 Status")
