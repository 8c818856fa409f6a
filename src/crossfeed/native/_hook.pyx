# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The listener picows calls, compiled: as `crossfeed.transport.listener.FrameListener`.

Apart from the other modules because only this one depends on the layout of picows' classes: it is
used only under the minor version of picows it was built for (`PICOWS`).
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy
from picows.picows cimport WSFrame, WSListener, WSMsgType, WSTransport

from crossfeed.native._path cimport Path

import sys
import time

import picows

__all__ = ["PICOWS", "FrameListener"]

cdef extern from *:
    """
    #if defined(__linux__)
    #include <time.h>
    static inline long long cf_monotonic_ns(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * 1000000000LL + now.tv_nsec;
    }
    #else
    static inline long long cf_monotonic_ns(void) { return 0; }
    #endif
    #ifndef CF_PICOWS
    #define CF_PICOWS ""
    #endif
    """
    long long cf_monotonic_ns() nogil
    const char *CF_PICOWS

PICOWS = CF_PICOWS.decode()
"""Version of picows this was built for."""


cdef inline bint _is_ascii(const char *text, Py_ssize_t size) noexcept nogil:
    cdef uint64_t word
    cdef uint64_t seen = 0
    cdef Py_ssize_t at = 0
    while at + 8 <= size:
        memcpy(&word, text + at, 8)
        seen |= word
        at += 8
    while at < size:
        seen |= <unsigned char> text[at] & 0x80
        at += 1
    return not seen & <uint64_t> 0x8080808080808080


cdef class FrameListener(WSListener):
    """Made by the connection, one for each; satisfies `Listener`."""

    cdef object _connection
    cdef object _monotonic_ns
    cdef bint _is_system_clock
    cdef object _on_frame
    cdef Path _path             # what `on_frame` belongs to, if it is the compiled way
    cdef public bint is_plain
    cdef public int64_t wall_offset_ns
    cdef public int64_t frame_count
    cdef public int64_t byte_count
    cdef public int64_t last_frame_ns

    def __init__(self, connection):
        """Serve `connection`."""
        self._connection = connection
        self.on_frame = connection.on_frame
        self._monotonic_ns = connection.clock.monotonic_ns
        # The C clock is read directly where Python would read the very same one.
        self._is_system_clock = sys.platform == "linux" and self._monotonic_ns is time.monotonic_ns
        self.is_plain = True
        self.wall_offset_ns = connection.wall.offset_ns
        self.frame_count = 0
        self.byte_count = 0
        self.last_frame_ns = 0

    @property
    def on_frame(self):
        """What messages are delivered to."""
        return self._on_frame

    @on_frame.setter
    def on_frame(self, target):
        owner = getattr(target, "__self__", None)
        is_path = type(owner) is Path and target == owner.take
        self._path = <Path> owner if is_path else None
        self._on_frame = target

    cpdef on_ws_connected(self, WSTransport transport):
        """Note the opening."""
        self._connection.on_ws_connected(transport)

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        """Deliver a whole text frame; hand anything else to the connection."""
        cdef int64_t now_ns
        cdef bytes payload
        if self._is_system_clock:
            now_ns = cf_monotonic_ns()
        else:
            now_ns = self._monotonic_ns()
        if (
            self.is_plain
            and frame.msg_type == WSMsgType.TEXT
            and frame.fin
            and not (frame.rsv1 or frame.rsv2 or frame.rsv3)
        ):
            payload = frame.get_payload_as_bytes()
            if _is_ascii(PyBytes_AS_STRING(payload), len(payload)) or self._connection.accepts_text(
                payload
            ):
                self.last_frame_ns = now_ns
                self.frame_count += 1
                self.byte_count += len(payload)
                try:
                    if self._path is not None:
                        self._path.carry(payload, now_ns + self.wall_offset_ns, now_ns)
                    else:
                        self._on_frame(payload, now_ns + self.wall_offset_ns, now_ns)
                except BaseException as error:
                    self._connection.on_handler_error(error)
            return
        self._connection.receive(frame, now_ns)

    cpdef on_ws_disconnected(self, WSTransport transport):
        """Note the end."""
        self._connection.on_ws_disconnected(transport)

    cpdef pause_writing(self):
        """Refuse to send while the peer does not read."""
        self._connection.is_write_paused = True

    cpdef resume_writing(self):
        """Send again."""
        self._connection.is_write_paused = False
