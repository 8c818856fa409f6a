"""What a reel gives out up to a moment."""

from types import SimpleNamespace

from crossfeed.journal.records import Record, RecordKind
from crossfeed.runtime.reel import Reel


def record(kind, wall_ns):
    return Record(kind=kind, source="", wall_ns=wall_ns, mono_ns=wall_ns, payload=b"")


def test_what_the_writer_noted_itself_says_nothing_of_the_time():
    """A segment's end is stamped when it is written; frames queued before come behind it."""
    late = record(RecordKind.END, 50)
    block = [record(RecordKind.FRAME_IN, 10), late, record(RecordKind.FRAME_IN, 20)]
    block.append(record(RecordKind.FRAME_IN, 40))
    player = SimpleNamespace(blocks=lambda **_: iter([block]))
    reel = Reel([player], [0])
    _, taken = reel.take(10, until_ns=30)
    assert [each.wall_ns for each in taken] == [10, 50, 20]
    assert reel.take(10, until_ns=30)[1] == []
    assert [each.wall_ns for each in reel.take(10)[1]] == [40]
