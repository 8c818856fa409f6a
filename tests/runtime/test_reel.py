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


def test_a_record_that_waits_for_its_turn_is_made_once():
    """A compiled block makes a record, and copies its payload, each time it is asked for it."""

    class Block(list):
        asked = 0

        def __getitem__(self, at):
            self.asked += isinstance(at, int)
            return super().__getitem__(at)

    early = [[record(RecordKind.FRAME_IN, 10 * number)] for number in range(20)]
    late = Block([record(RecordKind.FRAME_IN, 1_000)])
    players = [
        SimpleNamespace(blocks=lambda found=found, **_: iter(found)) for found in (early, [late])
    ]
    reel = Reel(players, [0, 0])
    assert reel.next().wall_ns == 0
    times = [each.wall_ns for taken in iter(lambda: reel.take(10), None) for each in taken[1]]
    assert times == [*range(0, 200, 10), 1_000]
    assert late.asked == 1
