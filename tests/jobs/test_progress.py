import io

from jobs.ledger import UnitReport
from jobs.progress import ProgressDisplay, Tally, clock, progress_text, summary_text


def tally(units: int = 2) -> Tally:
    total = Tally()
    for part in range(units):
        total.add(
            UnitReport(
                "s", part, {"ok": 3, "failed": 1}, 5, 10, 20, {"detect": 1.5}, f"host:{part}", 100 * 2**20, ("1 link left out",)
            )
        )
    return total


def test_line_tells_done_rate_eta_and_failures():
    assert progress_text(tally(), 20, 4.0) == "8/20 images  2.0/s  ETA 0:06  2 failed"
    assert progress_text(tally(), None, 4.0) == "8 images  2.0/s  2 failed"


def test_lines_come_no_faster_than_asked():
    stream = io.StringIO()
    with ProgressDisplay(20, 1000.0, stream) as slow:
        slow.update(tally())
    assert stream.getvalue() == ""
    with ProgressDisplay(20, 0.0, stream) as eager:
        eager.update(tally())
    assert stream.getvalue().startswith("8/20 images")


def test_summary_tells_what_happened_and_where_to_look():
    text = summary_text(tally(), 4.0, "/out", 7, "/out/report.html")
    for wanted in (
        "8 images, 10 faces in 0:04",
        "7 units were done",
        "ok      6",
        "detect",
        "3.0",
        "100 MiB",
        "1 link left out",
        "/out/report.html",
    ):
        assert wanted in text


def test_clock():
    assert (clock(5.0), clock(65.0), clock(3725.0)) == ("0:05", "1:05", "1:02:05")
