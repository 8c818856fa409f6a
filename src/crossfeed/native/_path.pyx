# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""From a frame to the handlers: the way of a message, its ordinary case."""

cimport cython
from cpython.ref cimport PyObject

from crossfeed.native._cells cimport Cell
from crossfeed.native._python cimport PyDict_GetItem_
from crossfeed.native._states cimport SubscriptionState, WatchedDict
from crossfeed.native._step cimport Step

__all__ = ["Path"]

cdef enum:
    SAMPLE_MASK = 7


@cython.final
cdef class Path:
    """From a frame to the handlers: `Connection.on_frame` around a `Step`.

    Args:
        step: Decodes and judges.
        slow: `Connection.on_frame` itself, for frames that the engine declines.
        finish: Takes the commands, if there are any.
        router: The client's router.
        sample: Takes the receive time of every eighth frame.
    """

    def __init__(self, Step step, slow, finish, router, sample):
        self.step = step
        self.slow = slow
        self.finish = finish
        self.router = router
        self.table = router.table
        self.is_watched = type(self.table) is WatchedDict
        self.sample = sample
        self.out = step.out_type()
        self.events, self.commands = self.out.events, self.out.commands
        self.is_busy = False
        self.frames = 0

    def take(self, bytes frame, object ts_recv_ns, object ts_mono_ns):
        """Take one frame; as `Connection.on_frame`."""
        self.carry(frame, ts_recv_ns, ts_mono_ns)

    cdef int carry(self, bytes frame, object ts_recv_ns, object ts_mono_ns) except -1:
        cdef Step step = self.step
        cdef Cell cell
        if self.is_busy:
            self.slow(frame, ts_recv_ns, ts_mono_ns)
            return 0
        if not step.decode(frame, ts_recv_ns, ts_mono_ns):
            step.is_declined = True
            self.slow(frame, ts_recv_ns, ts_mono_ns)
            return 0
        self.is_busy = True
        try:
            if step.take(frame, ts_recv_ns, ts_mono_ns, self.out):
                cell, step.cell = step.cell, None
                event, step.event = step.event, None
                quote, step.quote = step.quote, None
                book, step.book = step.book, None
                if self.is_watched and cell.heard_version != (<WatchedDict> self.table).version:
                    cell.heard = cell.heard_quotes = cell.heard_books = None
                    cell.heard_version = (<WatchedDict> self.table).version
                if event is not None:
                    if cell.heard is None:
                        cell.heard = self._find(event.data_type, event)
                    self._deliver(cell.heard, event)
                if quote is not None:
                    if cell.heard_quotes is None:
                        cell.heard_quotes = self._find("book_ticker", quote)
                    self._deliver(cell.heard_quotes, quote)
                if book is not None:
                    if cell.heard_books is None:
                        cell.heard_books = self._find("book", book)
                    self._deliver(cell.heard_books, book)
            else:
                for event in self.events:
                    self.router.publish(event)
                if self.commands:
                    self.finish(self.commands.copy())
        finally:
            if self.events:
                self.events.clear()
            if self.commands:
                self.commands.clear()
            self.is_busy = False
        self.frames += 1
        if not self.frames & SAMPLE_MASK:
            self.sample(ts_mono_ns)
        return 0

    cdef tuple _find(self, str data_type, object event):
        """Return the subscribers of an event, None where they must be looked up each time."""
        cdef PyObject *found
        if not self.is_watched:
            return None
        found = PyDict_GetItem_(self.table, data_type)
        if found != NULL:
            found = PyDict_GetItem_(<object> found, event.symbol)
        return None if found == NULL else <tuple> found

    cdef int _deliver(self, tuple heard, object event) except -1:
        """Hand one event to its subscribers; as `Router.publish`."""
        cdef SubscriptionState subscription
        if heard is None:
            self.router.publish(event)
            return 0
        if not heard:
            self.router.unheard += 1
            return 0
        for each in heard:
            subscription = <SubscriptionState?> each
            try:
                subscription.push(event)
                subscription.delivered += 1
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                subscription.failed(error)
        return 0
