# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The levels of one book in two sorted arrays, best level last: 16 bytes a level.

Holds what `crossfeed.books.ladder.Ladder` holds as long as every number is a float that is exact (see
there); what is not, it refuses, and the caller goes on with the pure ladder.
"""

cimport cython
from cpython.float cimport PyFloat_AS_DOUBLE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.math cimport INFINITY, rint
from libc.stdlib cimport qsort
from libc.string cimport memmove

__all__ = ["Levels"]

cdef extern from "Python.h":
    bint PyFloat_CheckExact(object value)

cdef extern from "_crc.h":
    unsigned int cf_crc32(unsigned int crc, const unsigned char *text, Py_ssize_t size) nogil

cdef double WHOLE_MAX = 2251799813685248.0      # 2**51
cdef double ROUNDER = 6755399441055744.0        # 1.5 * 2**52

cdef enum:
    ROOM_MIN = 32
    DIGIT_LEVELS_MAX = 32
    DIGITS_MAX = 40     # of one level

cdef int _by_key(const void *a, const void *b) noexcept nogil:
    cdef double x = (<const Level *> a).key
    cdef double y = (<const Level *> b).key
    return (x > y) - (x < y)


cdef inline int _reserve(Side *side, Py_ssize_t count) except -1:
    cdef Py_ssize_t room
    cdef void *grown
    if count <= side.room:
        return 0
    room = max(side.room * 2, count, ROOM_MIN)
    grown = PyMem_Realloc(side.levels, room * sizeof(Level))
    if grown == NULL:
        raise MemoryError
    side.levels = <Level *> grown
    side.room = room
    return 0


cdef inline Py_ssize_t _place(const Side *side, double key) noexcept nogil:
    """Return the place of the first level not below `key`; changes happen near the end.

    Steps of four times the size from the best end on, then a bisection without branches: which way it
    goes is a coin toss that no processor foresees.
    """
    cdef const Level *levels = side.levels
    cdef Py_ssize_t high = side.count
    cdef Py_ssize_t step = 8
    cdef Py_ssize_t low
    cdef Py_ssize_t half
    cdef Py_ssize_t count
    while True:
        low = high - step
        if low <= 0:
            low = 0
            break
        if levels[low].key < key:
            low += 1
            break
        high = low
        step *= 4
    count = high - low
    while count > 0:
        half = (count + 1) >> 1
        low += half & -<Py_ssize_t> (levels[low + half - 1].key < key)
        count -= half
    return low


@cython.final
cdef class Levels:
    """Bids and offers.

    Attributes:
        unknown: Removals of prices the book did not hold, by `apply`.
        outside: Levels outside the window, by `apply`.
        floor: Bids below are not kept.
        ceiling: Offers above are not kept.
        price_limit: Prices from here on no float holds exactly.
        size_limit: Sizes from here on no float holds exactly.
        price_power: Price units of 1.
        size_power: Size units of 1.
    """

    def __cinit__(self):
        self.bids.levels = self.asks.levels = NULL
        self.ceiling = self.price_limit = self.size_limit = INFINITY

    def __dealloc__(self):
        PyMem_Free(self.bids.levels)
        PyMem_Free(self.asks.levels)

    def apply(self, bids, asks):
        """Set levels in order; return False at the first number that is no exact float."""
        cdef Py_ssize_t unknown = self.unknown
        cdef Py_ssize_t outside = self.outside
        if type(bids) is not list or type(asks) is not list:
            return False
        if self._apply(&self.bids, <list> bids, 1.0, self.floor) and self._apply(
            &self.asks, <list> asks, -1.0, -self.ceiling
        ):
            return True
        # The caller does it all again, and counts again.
        self.unknown, self.outside = unknown, outside
        return False

    cdef int set_rows(
        self, const Row *bids, Py_ssize_t bid_count, const Row *asks, Py_ssize_t ask_count
    ) except -1:
        """Set levels in order. The caller has looked that all numbers are within the limits."""
        # Room is made before anything is changed: a message is applied whole or not at all.
        _reserve(&self.bids, self.bids.count + bid_count)
        _reserve(&self.asks, self.asks.count + ask_count)
        self._set_rows(&self.bids, bids, bid_count, 1.0, self.floor)
        self._set_rows(&self.asks, asks, ask_count, -1.0, -self.ceiling)
        return 0

    cdef int _set_rows(
        self, Side *side, const Row *rows, Py_ssize_t count, double sign, double worst
    ) except -1:
        cdef double key
        cdef Py_ssize_t number
        cdef Py_ssize_t at
        cdef Level *levels = side.levels
        for number in range(count):
            key = sign * rows[number].price
            at = _place(side, key)
            if at < side.count and levels[at].key == key:
                if rows[number].size != 0.0:
                    levels[at].size = rows[number].size
                    continue
                side.count -= 1
                memmove(&levels[at], &levels[at + 1], (side.count - at) * sizeof(Level))
            elif rows[number].size == 0.0:
                self.unknown += 1
            elif key < worst:
                self.outside += 1
            else:
                memmove(&levels[at + 1], &levels[at], (side.count - at) * sizeof(Level))
                side.count += 1
                levels[at].key, levels[at].size = key, rows[number].size
        return 0

    cdef void cut_to(self, Py_ssize_t depth) noexcept:
        """Keep the best `depth` of each side."""
        _drop(&self.bids, self.bids.count - depth)
        _drop(&self.asks, self.asks.count - depth)

    cdef int crc32(
        self, Py_ssize_t count, double price_power, double size_power, unsigned int *found
    ) noexcept:
        """Compute the checksum over the digits of the best `count`, offers first; 0: not whole."""
        cdef char text[2 * DIGIT_LEVELS_MAX * DIGITS_MAX]
        cdef int size
        cdef int more
        if count > DIGIT_LEVELS_MAX:
            return 0
        size = _write_digits(&self.asks, -1.0, count, price_power, size_power, text)
        if size < 0:
            return 0
        more = _write_digits(&self.bids, 1.0, count, price_power, size_power, text + size)
        if more < 0:
            return 0
        found[0] = cf_crc32(0, <const unsigned char *> text, size + more)
        return 1

    cdef int _apply(self, Side *side, list changes, double sign, double worst) except -1:
        cdef double price, size, key
        cdef Py_ssize_t at
        cdef bint is_there
        cdef tuple change
        for each in changes:
            if type(each) is not tuple or len(<tuple> each) != 2:
                return False
            change = <tuple> each
            if not (PyFloat_CheckExact(change[0]) and PyFloat_CheckExact(change[1])):
                return False
            price, size = PyFloat_AS_DOUBLE(change[0]), PyFloat_AS_DOUBLE(change[1])
            key = sign * price
            at = _place(side, key)
            is_there = at < side.count and side.levels[at].key == key
            if size != 0.0:
                if not is_there:
                    if key < worst:
                        self.outside += 1
                        continue
                    if price >= self.price_limit:
                        return False
                    _reserve(side, side.count + 1)
                    memmove(
                        &side.levels[at + 1], &side.levels[at],
                        (side.count - at) * sizeof(Level),
                    )
                    side.count += 1
                    side.levels[at].key = key
                side.levels[at].size = size
                if size >= self.size_limit:
                    return False
            elif is_there:
                side.count -= 1
                memmove(
                    &side.levels[at], &side.levels[at + 1], (side.count - at) * sizeof(Level)
                )
            else:
                self.unknown += 1
        return True

    def load(self, list bids, list asks):
        """Replace everything, in whatever order; return False if a number is no exact float."""
        return bool(self._load(&self.bids, bids, 1.0) and self._load(&self.asks, asks, -1.0))

    cdef int _load(self, Side *side, list levels, double sign) except -1:
        cdef double price, size, key
        cdef Py_ssize_t count = 0
        cdef Py_ssize_t at
        cdef bint is_sorted = True
        cdef bint is_reversed = True
        cdef tuple pair
        side.count = 0
        _reserve(side, len(levels))
        for each in levels:
            if type(each) is not tuple or len(<tuple> each) != 2:
                return False
            pair = <tuple> each
            if not (PyFloat_CheckExact(pair[0]) and PyFloat_CheckExact(pair[1])):
                return False
            price, size = PyFloat_AS_DOUBLE(pair[0]), PyFloat_AS_DOUBLE(pair[1])
            if size == 0.0:
                continue
            if price >= self.price_limit or size >= self.size_limit:
                return False
            key = sign * price
            if count:
                if key <= side.levels[count - 1].key:
                    is_sorted = False
                if key >= side.levels[count - 1].key:
                    is_reversed = False
            side.levels[count].key, side.levels[count].size = key, size
            count += 1
        if count > 1 and is_reversed:
            _reverse(side.levels, count)
        elif count > 1 and not is_sorted:
            qsort(side.levels, count, sizeof(Level), _by_key)
            for at in range(1, count):
                if side.levels[at].key == side.levels[at - 1].key:
                    return False  # a price twice: the last one written wins, the slow way
        side.count = count
        return True

    def clear(self):
        """Forget all levels."""
        self.bids.count = self.asks.count = 0

    def cut(self, Py_ssize_t depth):
        """Keep the best `depth` of each side; return how many were cut off."""
        return _drop(&self.bids, self.bids.count - depth) + _drop(&self.asks, self.asks.count - depth)

    def limit(self, double floor, double ceiling):
        """Drop what lies below `floor` or above `ceiling`; return how many that were."""
        return _drop(&self.bids, _place(&self.bids, floor)) + _drop(
            &self.asks, _place(&self.asks, -ceiling)
        )

    def counts(self):
        """Return how many (bids, offers) there are."""
        return self.bids.count, self.asks.count

    def best(self):
        """Return (bid, size, offer, size), None while a side is empty."""
        cdef Level *bid
        cdef Level *ask
        if self.bids.count == 0 or self.asks.count == 0:
            return None
        bid = &self.bids.levels[self.bids.count - 1]
        ask = &self.asks.levels[self.asks.count - 1]
        return (bid.key, bid.size, -ask.key, ask.size)

    def depth(self, Py_ssize_t count):
        """Return the best `count` (bids, offers) as (price, size), best first."""
        return _pairs(&self.bids, 1.0, 0, count), _pairs(&self.asks, -1.0, 0, count)

    def side(self, bint is_bid, Py_ssize_t start, Py_ssize_t count):
        """Return `count` levels of one side as (price, size), best first, from the `start`th on."""
        cdef Side *side = &self.bids if is_bid else &self.asks
        return _pairs(side, 1.0 if is_bid else -1.0, start, count)

    def units(self, Py_ssize_t count, double price_power, double size_power):
        """Return the best `count` (bids, offers) in whole units; None if one is not whole."""
        bids = _units(&self.bids, 1.0, count, price_power, size_power)
        asks = _units(&self.asks, -1.0, count, price_power, size_power)
        return None if bids is None or asks is None else (bids, asks)

    def digits(self, Py_ssize_t count, double price_power, double size_power):
        """Return the digits of `units`, (bids, offers): price and size of each level in a row."""
        bids = _digits(&self.bids, 1.0, count, price_power, size_power)
        asks = _digits(&self.asks, -1.0, count, price_power, size_power)
        return None if bids is None or asks is None else (bids, asks)

    def keys(self):
        """Return (bid prices, minus offer prices), ascending."""
        cdef Py_ssize_t at
        return (
            [self.bids.levels[at].key for at in range(self.bids.count)],
            [self.asks.levels[at].key for at in range(self.asks.count)],
        )

    def sizes(self):
        """Return two dicts, price -> size."""
        cdef Py_ssize_t at
        return (
            {self.bids.levels[at].key: self.bids.levels[at].size for at in range(self.bids.count)},
            {-self.asks.levels[at].key: self.asks.levels[at].size for at in range(self.asks.count)},
        )


cdef void _reverse(Level *levels, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t low = 0
    cdef Py_ssize_t high = count - 1
    cdef Level kept
    while low < high:
        kept = levels[low]
        levels[low] = levels[high]
        levels[high] = kept
        low += 1
        high -= 1


cdef Py_ssize_t _drop(Side *side, Py_ssize_t count) noexcept nogil:
    """Drop the worst `count` levels."""
    if count <= 0:
        return 0
    side.count -= count
    memmove(side.levels, &side.levels[count], side.count * sizeof(Level))
    return count


cdef list _pairs(Side *side, double sign, Py_ssize_t start, Py_ssize_t count):
    cdef list pairs = []
    cdef Py_ssize_t at = side.count - start
    while at > 0 and count > 0:
        at -= 1
        count -= 1
        pairs.append((sign * side.levels[at].key, side.levels[at].size))
    return pairs


cdef inline int _write(char *text, unsigned long long number) noexcept nogil:
    """Write the digits of a number; return how many."""
    cdef unsigned long long rest = number
    cdef int size = 1
    cdef int at
    while rest >= 10:
        rest //= 10
        size += 1
    at = size
    while at > 0:
        at -= 1
        rest = number // 10
        text[at] = 48 + <char> (number - rest * 10)
        number = rest
    return size


cdef int _write_digits(
    Side *side, double sign, Py_ssize_t count, double price_power, double size_power, char *text
) noexcept nogil:
    """Write the digits of the best `count` levels, price before size; -1 if one is not whole."""
    cdef Py_ssize_t at = side.count
    cdef int size = 0
    cdef double price, quantity, price_units, size_units
    while at > 0 and count > 0:
        at -= 1
        count -= 1
        price, quantity = sign * side.levels[at].key, side.levels[at].size
        price_units, size_units = price * price_power, quantity * size_power
        if price_units >= WHOLE_MAX or size_units >= WHOLE_MAX:
            return -1
        # Added and taken away again, 1.5 * 2**52 leaves the nearest whole number (as `rint`).
        price_units = (price_units + ROUNDER) - ROUNDER
        size_units = (size_units + ROUNDER) - ROUNDER
        if price_units / price_power != price or size_units / size_power != quantity:
            return -1
        size += _write(text + size, <unsigned long long> price_units)
        size += _write(text + size, <unsigned long long> size_units)
    return size


cdef bytes _digits(Side *side, double sign, Py_ssize_t count, double price_power, double size_power):
    cdef char text[DIGIT_LEVELS_MAX * DIGITS_MAX]
    cdef int size
    if count > DIGIT_LEVELS_MAX:
        return None
    size = _write_digits(side, sign, count, price_power, size_power, text)
    return None if size < 0 else text[:size]


cdef list _units(Side *side, double sign, Py_ssize_t count, double price_power, double size_power):
    cdef list units = []
    cdef Py_ssize_t at = side.count
    cdef double price, size, price_units, size_units
    while at > 0 and count > 0:
        at -= 1
        count -= 1
        price, size = sign * side.levels[at].key, side.levels[at].size
        price_units, size_units = rint(price * price_power), rint(size * size_power)
        if price_units >= 4.5e15 or size_units >= 4.5e15:
            return None
        if price_units / price_power != price or size_units / size_power != size:
            return None
        units.append((<long long> price_units, <long long> size_units))
    return units
