# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Which sort of message a frame is, told by how it begins, as far as the pure decoder's guess looks.

The guess is a regular expression of the venue's; the beginnings that it was asked about are remembered.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

from crossfeed.native._events cimport Made
from crossfeed.native._scan cimport cf_at

__all__ = ["Routes"]

cdef enum:
    HEADS = 4096        # a power of two
    HEADS_KEPT = 3000
    HEAD_MAX = 120


@cython.final
cdef class Routes:
    """The routes of one connection.

    Args:
        specs: Groups of the guess, root table, event and snapshot of each.
        guess: Finds the beginning of a frame that names its route.
    """

    def __init__(self, list specs, object guess):
        """Take the routes. Raises ValueError where there are too many."""
        if len(specs) > ROUTES_MAX:
            raise ValueError("too many routes")
        self.guess = guess
        self.by_groups = {}
        self.plain, self.first = [], []
        self.heads = <Head *> PyMem_Calloc(HEADS, sizeof(Head))
        if self.heads == NULL:
            raise MemoryError
        for number, (groups, root, plain, first) in enumerate(specs):
            self.roots[number] = root
            self.plain.append(Made(*plain))
            self.first.append(self.plain[number] if first is None else Made(*first))
            self.by_groups[groups] = number

    def __dealloc__(self):
        cdef int at
        if self.heads != NULL:
            for at in range(HEADS):
                PyMem_Free(self.heads[at].text)
        PyMem_Free(self.heads)

    cdef int find(self, bytes frame) except -2:
        """Return the route of a frame, -1 where there is none."""
        cdef cf_at p = <cf_at> PyBytes_AS_STRING(frame)
        cdef cf_at end = p + PyBytes_GET_SIZE(frame)
        cdef cf_at at = p
        cdef cf_at last = end
        cdef int quotes = self.quotes
        cdef uint64_t hashed = 1469598103934665603ULL
        cdef uint64_t word
        cdef int size
        cdef Head *head
        if last - p > HEAD_MAX:
            last = p + HEAD_MAX
        if quotes:
            while at < last:
                if at[0] == c'"':
                    quotes -= 1
                    if quotes == 0:
                        break
                at += 1
            if quotes == 0:
                size = <int> (at + 1 - p)
                at = p
                while end - at >= 8 and at + 8 <= p + size:
                    memcpy(&word, at, 8)
                    hashed = (hashed ^ word) * 0x9E3779B97F4A7C15ULL
                    hashed ^= hashed >> 29
                    at += 8
                while at < p + size:
                    hashed = (hashed ^ at[0]) * 0x9E3779B97F4A7C15ULL
                    at += 1
                hashed ^= hashed >> 32
                head = &self.heads[hashed & (HEADS - 1)]
                while head.size:
                    if head.hashed == hashed and head.size == size and memcmp(head.text, p, size) == 0:
                        return head.route
                    head = &self.heads[(head - self.heads + 1) & (HEADS - 1)]
                return self._learn(frame, head, hashed, size)
        return self._learn(frame, NULL, 0, 0)

    cdef int _learn(self, bytes frame, Head *head, uint64_t hashed, int size) except -2:
        """Ask the guess itself; remember the beginning if the guess looked at nothing beyond."""
        found = self.guess.match(frame)
        if found is None:
            return -1
        route = self.by_groups.get(found.groups(), -1)
        # What does not end with a quotation mark may have looked one byte ahead.
        needed = found.end()
        if not found.group(0).endswith(b'"'):
            needed += 1
        quotes = frame.count(b'"', 0, needed)
        if frame[needed - 1:needed] != b'"':
            quotes += 1
        if quotes > self.quotes:
            self.quotes = quotes
        elif head != NULL and size >= needed and self.head_count < HEADS_KEPT:
            head.text = <unsigned char *> PyMem_Calloc(size, 1)
            if head.text != NULL:
                memcpy(head.text, PyBytes_AS_STRING(frame), size)
                head.hashed, head.size, head.route = hashed, size, route
                self.head_count += 1
        return route
