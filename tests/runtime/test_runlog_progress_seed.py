"""The run log survives a torn line; progress tells rate and ETA; streams are independent and reproducible."""

import io

from ownlm.runtime import progress, runlog, seed


def test_runlog_round_trip_and_torn_line(tmp_path):
    path = tmp_path / "run.jsonl"
    log = runlog.RunLog(path)
    log.write("start", stage="read", text="a\nb\x1b[31m")
    log.close()
    with open(path, "ab") as file:
        file.write(b'{"event": "half')
    log = runlog.RunLog(path)
    log.write("end")
    log.close()
    events = list(runlog.read(path))
    assert [event["event"] for event in events] == ["start", "unreadable", "end"]
    assert events[0]["text"] == "a\nb\x1b[31m"
    assert b"\x1b" not in path.read_bytes()


def test_progress_line():
    stream = io.StringIO()
    bar = progress.Progress("train", total=200, unit="steps", stream=stream)
    bar._began -= 10
    bar.update(50, loss=3.14159)
    line = bar.line()
    assert "25%" in line and "50/200 steps" in line and "loss 3.142" in line and "ETA 30s" in line


def test_progress_after_resume_counts_only_its_own_rate():
    bar = progress.Progress("train", total=200, unit="steps", start=100, stream=io.StringIO())
    bar._began -= 10
    bar.update(50)
    assert "75%" in bar.line() and "ETA 10s" in bar.line()


def test_clock():
    assert [progress.clock(s) for s in (4, 65, 3725)] == ["4s", "1m05s", "1h02m"]


def test_streams():
    assert seed.generator(1, "a").integers(1 << 60) == seed.generator(1, "a").integers(1 << 60)
    draws = {
        int(seed.generator(s, *n).integers(1 << 60))
        for s, n in ((1, ("a",)), (2, ("a",)), (1, ("b",)), (1, ("a", "b")), (1, ("ab",)))
    }
    assert len(draws) == 5
