"""Schedules: crontab, intervals, and their occurrences."""

from __future__ import annotations

import datetime
import json
import threading
import unittest
import unittest.mock
from typing import Any, Dict, List

from gale.celery import Celery, beat
from gale.celery.exceptions import ImproperlyConfigured
from gale.celery.schedules import ParseException, crontab, maybe_schedule, parse_field, schedule, solar
from gale.errors import BadRequest, ConnectionLost

UTC = datetime.timezone.utc


def stamp(text: str) -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def application(zone: str = "UTC", **entries: Any) -> Any:
    app = Celery("proj", timezone=zone)

    @app.task(name="work", queue="q")
    def work(*args: Any, **kwargs: Any) -> None: ...

    app.conf.beat_schedule = {k: {"task": "work", **v} for k, v in entries.items()}
    return app


class Fields(unittest.TestCase):
    def test_fields(self) -> None:
        rows: List[Any] = [
            (("*", 0, 3), {0, 1, 2, 3}), (("*/2", 0, 5), {0, 2, 4}), (("1-3,5", 0, 9), {1, 2, 3, 5}),
            ((7, 0, 9), {7}), (([1, "4-5"], 0, 9), {1, 4, 5}), (("2-8/3", 0, 9), {2, 5, 8}), (("8-1", 0, 9), {8, 9, 0, 1}),
        ]
        for (value, low, high), want in rows:
            self.assertEqual(parse_field(value, low, high), want, value)
        self.assertEqual(crontab(day_of_week="sun,tue-thu").day_of_week, {0, 2, 3, 4})
        self.assertEqual(crontab(day_of_week="mon-fri").day_of_week, {1, 2, 3, 4, 5})
        self.assertEqual(crontab(day_of_week=7).day_of_week, {0})
        self.assertEqual(crontab(month_of_year="jan,MAR").month_of_year, {1, 3})

    def test_wrong_fields(self) -> None:
        for field in ("60", "a", "1-", "*/0", "", "1;2", "-1"):
            with self.subTest(field), self.assertRaises(ParseException):
                crontab(minute=field)
        with self.assertRaises(TypeError):
            crontab(minute=None)
        with self.assertRaisesRegex(NotImplementedError, "crontab"):
            solar("sunset", 1, 2)

    def test_values(self) -> None:
        self.assertEqual(crontab(minute=0, hour=3), crontab("0", "3"))
        self.assertEqual(repr(crontab(minute=0, hour=3)), "<crontab: 0 3 * * * (m/h/d/dM/MY)>")
        self.assertEqual(maybe_schedule(30), schedule(datetime.timedelta(seconds=30)))


class Occurrences(unittest.TestCase):
    def moments(self, plan: Any, after: str, until: str, zone: str = "UTC") -> List[str]:
        (entry,) = beat.entries(application(zone, job={"schedule": plan}))
        entry = json.loads(json.dumps(entry))
        return [id for _, id in beat.occurrences(entry, stamp(after), stamp(until))]

    def test_moments(self) -> None:
        rows: List[Any] = [
            (30, "2026-01-01T00:00:00", "2026-01-01T00:01:10", ["job-20260101T000030Z", "job-20260101T000100Z"]),
            (datetime.timedelta(minutes=1), "2026-01-01T00:00:30", "2026-01-01T00:01:00", ["job-20260101T000100Z"]),
            (1.5, "2026-01-01T00:00:00", "2026-01-01T00:00:03", ["job-20260101T000001.500Z", "job-20260101T000003Z"]),
            (crontab(minute=15, hour=9), "2026-01-01T00:00:00", "2026-01-02T23:00:00", ["job-20260101T091500Z", "job-20260102T091500Z"]),
            (crontab(minute=0, hour=0, day_of_week="mon"), "2026-01-01T00:00:00", "2026-01-10T00:00:00", ["job-20260105T000000Z"]),
            (crontab(minute=0, hour=0, day_of_month=13, day_of_week="fri"), "2026-01-01T00:00:00", "2026-03-01T00:00:00", ["job-20260213T000000Z"]),
        ]
        for plan, after, until, want in rows:
            with self.subTest(plan):
                self.assertEqual(self.moments(plan, after, until), want)

    def test_time_zones_and_clock_changes(self) -> None:
        daily = crontab(minute=30, hour=2)
        rows: List[Any] = [
            (crontab(minute=0, hour=9), "2026-01-01T00:00:00", "2026-01-02T00:00:00", ["job-20260101T080000Z"]),
            (daily, "2026-03-29T00:00:00", "2026-03-29T12:00:00", ["job-20260329T010000Z"]),  # 02:30 does not exist
            (daily, "2026-10-24T12:00:00", "2026-10-25T12:00:00", ["job-20261025T003000Z"]),  # 02:30 comes twice
            (crontab(minute=30), "2026-10-25T00:00:00", "2026-10-25T02:00:00", ["job-20261025T003000Z", "job-20261025T013000Z"]),
        ]
        for plan, after, until, want in rows:
            with self.subTest(plan, after=after):
                self.assertEqual(self.moments(plan, after, until, "Europe/Berlin"), want)


class Entries(unittest.TestCase):
    def test_an_entry(self) -> None:
        app = application(**{"every night!": {"schedule": 60, "args": (1,), "kwargs": {"a": 2}, "options": {"queue": "x", "expires": 30}}})
        (entry,) = beat.entries(app)
        self.assertRegex(entry["prefix"], r"\Aevery-night--[0-9a-f]{8}\Z")
        body = entry["body"]
        self.assertEqual((body["task"], body["args"], body["kwargs"], body["queue"], body["expires"]), ("work", [1], {"a": 2}, "x", 30.0))
        self.assertNotIn("id", body)

    def test_periodic_tasks_are_added_after_the_settings_are_read(self) -> None:
        app = application()

        @app.on_after_configure.connect
        def setup(sender: Any, **_: Any) -> None:
            sender.add_periodic_task(crontab(minute=0), sender.tasks["work"].s("x"), name="hourly")
            sender.add_periodic_task(10.0, sender.tasks["work"].s(1))

        app._conf = None
        self.assertEqual([e["name"] for e in app.schedules()], ["hourly", "work(1)"])

    def test_wrong_entries(self) -> None:
        rows: Dict[str, Any] = {
            "needs task and schedule": {},
            "str is not supported": {"schedule": "* * * * *"},
            "at least one second": {"schedule": 0.1},
            "link_error": {"schedule": 5, "options": {"link_error": [1]}},
            "not JSON serializable": {"schedule": 5, "args": [object()]},
        }
        for text, entry in rows.items():
            with self.subTest(text), self.assertRaisesRegex(ImproperlyConfigured, text):
                beat.entries(application(job=entry))


class Client:
    """Records what is posted; refuses as told."""

    def __init__(self, stop: threading.Event, errors: List[Any]) -> None:
        self.transport, self.stop, self.errors = self, stop, errors
        self.ids: List[str] = []

    def call(self, method: str, path: str, body: Any) -> None:
        if self.errors:
            error = self.errors.pop(0)
            if error is not None:
                raise error
        self.ids.append(body["id"])
        if len(self.ids) == 3:
            self.stop.set()


class Run(unittest.TestCase):
    def test_a_server_that_is_away_misses_nothing(self) -> None:
        stop = threading.Event()
        client = Client(stop, [ConnectionLost("away"), None, BadRequest(400, 400, "refused"), ConnectionLost("away")])
        (entry,) = beat.entries(application(tick={"schedule": 1}))
        with self.assertLogs("gale.beat") as logs, unittest.mock.patch.object(beat, "CATCH_UP", 120.0):
            beat.run(client, [entry], stop)
        seconds = [datetime.datetime.strptime(i[-16:], "%Y%m%dT%H%M%SZ").timestamp() for i in client.ids]
        gaps = [b - a for a, b in zip(seconds, seconds[1:])]
        self.assertEqual(gaps, [2.0] + [1.0] * (len(gaps) - 1), "one is refused, none is missed")
        self.assertGreater(len(gaps), 50)
        self.assertEqual(len(set(client.ids)), len(client.ids))
        text = "\n".join(logs.output)
        self.assertIn("is not enqueued yet: away", text)
        self.assertIn("is refused: refused", text)


if __name__ == "__main__":
    unittest.main()
