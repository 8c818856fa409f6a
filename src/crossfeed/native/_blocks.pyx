# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Blocks of a journal, compiled: frames go to their feeds without a record being made of each.

A block is checked as a whole before anything of it is handed out; one that is not exactly what it says is
declined, and the reader in Python says what is wrong with it (`crossfeed.journal.records`).
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport PyObject
from libc.string cimport memcmp, memcpy

from crossfeed.native._python cimport PyDict_GetItem_
from crossfeed.native._records cimport HEAD_BYTES, Head

import sys
from collections.abc import Sequence

if sys.byteorder != "little":
    raise ImportError("heads of records are read as they lie in memory: little-endian")

__all__ = ["Block", "PlayerState", "block_of"]

cdef enum:
    FRAME_IN = 1


cdef class PlayerState:
    """Where a player stands, which every frame moves."""

    cdef public long long now_ns, mono_ns


@cython.final
cdef class Block:
    """The records of one block, or some of them: a sequence whose records are made when asked for."""

    cdef bytes raw
    cdef Block whole            # whose `starts` these are, None where they are this one's own
    cdef bint is_own
    cdef unsigned int *starts   # of each record
    cdef Py_ssize_t first, count
    cdef dict names
    cdef object record

    def __dealloc__(self):
        if self.is_own:
            PyMem_Free(self.starts)

    def __len__(self):
        return self.count

    def __getitem__(self, object at):
        cdef Py_ssize_t first, stop, step
        cdef Block part
        if isinstance(at, slice):
            first, stop, step = at.indices(self.count)
            if step != 1:
                return [self._record(place) for place in range(first, stop, step)]
            part = Block.__new__(Block)
            part.raw, part.names, part.record = self.raw, self.names, self.record
            part.whole = self if self.whole is None else self.whole
            part.starts = self.starts
            part.first, part.count = self.first + first, max(0, stop - first)
            return part
        first = at
        if first < 0:
            first += self.count
        if not 0 <= first < self.count:
            raise IndexError(at)
        return self._record(first)

    def __iter__(self):
        cdef Py_ssize_t place
        for place in range(self.count):
            yield self._record(place)

    def __eq__(self, object other):
        return list(self) == list(other) if isinstance(other, (Block, list)) else NotImplemented

    cdef object _record(self, Py_ssize_t place):
        cdef Head head
        cdef const char *at = PyBytes_AS_STRING(self.raw) + self.starts[self.first + place]
        memcpy(&head, at, HEAD_BYTES)
        at += HEAD_BYTES
        name = PyBytes_FromStringAndSize(at, head.name_bytes)
        payload = PyBytes_FromStringAndSize(at + head.name_bytes, head.payload_bytes)
        return self.record(head.kind, self._source(name), payload, head.wall_ns, head.mono_ns, head.flags)

    cdef object _source(self, bytes name):
        source = self.names.get(name)
        if source is None:
            source = self.names[name] = name.decode("utf-8", "replace")
        return source

    def play(self, Py_ssize_t place, dict ways not None, PlayerState state not None):
        """Give frames to their ways, from `place` on; return where the first record is that has none.

        Args:
            place: Where to begin.
            ways: Source -> what takes (frame, wall_ns, mono_ns). It may change meanwhile.
            state: Told the times of each frame before it is given.
        """
        cdef Head head
        cdef const char *at
        cdef const char *name = NULL
        cdef Py_ssize_t name_bytes = -1
        cdef PyObject *way
        cdef object source = None
        if place < 0:
            raise IndexError(place)
        while place < self.count:
            at = PyBytes_AS_STRING(self.raw) + self.starts[self.first + place]
            memcpy(&head, at, HEAD_BYTES)
            if head.kind != FRAME_IN:
                break
            at += HEAD_BYTES
            if head.name_bytes != name_bytes or memcmp(name, at, name_bytes) != 0:
                name, name_bytes = at, head.name_bytes
                source = self._source(PyBytes_FromStringAndSize(name, name_bytes))
            way = PyDict_GetItem_(ways, source)
            if way == NULL:
                break
            payload = PyBytes_FromStringAndSize(at + head.name_bytes, head.payload_bytes)
            state.now_ns, state.mono_ns = head.wall_ns, head.mono_ns
            place += 1
            (<object> way)(payload, head.wall_ns, head.mono_ns)
        return place


def block_of(
    bytes raw not None, Py_ssize_t count, dict names not None, object record, int common_max,
    list rare,
):
    """Return the records of a block, None unless the bytes are exactly `count` whole records.

    Args:
        raw: The block's bytes, inflated.
        count: How many records it is said to hold.
        names: Sources met before, filled further.
        record: What makes a record.
        common_max: Records of higher kinds are added to `rare`.
        rare: Filled, if it is no None.
    """
    cdef Block block = Block.__new__(Block)
    cdef long long at = 0, end = PyBytes_GET_SIZE(raw)  # wide enough for what any head says
    cdef Py_ssize_t place
    cdef Head head
    if not 0 <= count <= end // HEAD_BYTES or end > <long long> 0xFFFFFFFF:
        return None
    block.starts = <unsigned int *> PyMem_Malloc(max(1, count) * sizeof(unsigned int))
    if block.starts == NULL:
        raise MemoryError
    block.is_own = True
    block.raw, block.names, block.record, block.count = raw, names, record, count
    for place in range(count):
        if at + HEAD_BYTES > end:
            return None
        block.starts[place] = <unsigned int> at
        memcpy(&head, PyBytes_AS_STRING(raw) + at, HEAD_BYTES)
        at += HEAD_BYTES + head.name_bytes + <long long> head.payload_bytes
        if at > end:
            return None
        if head.kind > common_max and rare is not None:
            rare.append(block._record(place))
    return block if at == end else None


Sequence.register(Block)
