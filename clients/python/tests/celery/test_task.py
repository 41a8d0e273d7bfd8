"""Tasks: options, calls, retries, hooks, signals, and what a worker reports."""

from __future__ import annotations

import datetime
import decimal
import json
import logging
import unittest
import uuid
from typing import Any, List

import gale
from gale.celery import Celery, Task, current_app, current_task, shared_task, signals
from gale.celery import _errors, exceptions, states
from gale.celery._run import backoff
from gale.celery.utils.log import get_task_logger
from gale.job import Channel
from tests.celery.memory import Memory


class CustomError(Exception):
    """An exception that can be imported, with two arguments."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code


class Quiet(unittest.TestCase):
    def setUp(self) -> None:
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        self.app: Any = Celery("proj")
        self.memory = self.app.backend = Memory(self.app)


class Calls(Quiet):
    def test_delay_and_apply_async(self) -> None:
        @self.app.task
        def add(x: int, y: int) -> int:
            return x + y

        self.assertEqual(add.name, __name__ + ".add")
        self.assertEqual(add(1, 2), 3)
        result = add.delay(1, y=2)
        self.assertEqual((result.state, result.ready(), result.result), ("PENDING", False, None))
        body = self.memory.bodies[-1]
        self.assertEqual((body["args"], body["kwargs"], body["wait_for_worker"]), ([1], {"y": 2}, True))
        self.assertEqual(result.get(timeout=30), 3)
        self.assertEqual((result.status, result.successful(), result.info), ("SUCCESS", True, 3))
        for wrong in ((1,), (1, 2, 3)):
            with self.assertRaises(TypeError):
                add.delay(*wrong)

    def test_options_of_a_call(self) -> None:
        @self.app.task(queue="slow", expires=60)
        def work() -> None: ...

        zone = datetime.timezone(datetime.timedelta(hours=2))
        rows: List[Any] = [
            ({"countdown": 5}, {"countdown": 5}),
            ({"eta": datetime.datetime(2030, 1, 1, 9, 0)}, {"eta": "2030-01-01T09:00:00Z"}),
            ({"eta": datetime.datetime(2030, 1, 1, 9, 0, tzinfo=zone)}, {"eta": "2030-01-01T07:00:00Z"}),
            ({"expires": datetime.datetime(2030, 1, 1)}, {"expires": "2030-01-01T00:00:00Z"}),
            ({}, {"expires": 60.0, "queue": "slow"}),
            ({"queue": "fast"}, {"queue": "fast"}),
            ({"routing_key": "r"}, {"queue": "r"}),
            ({"task_id": "mine"}, {"id": "mine"}),
            ({"time_limit": 9}, {"timeout": 9}),
            ({"priority": 3, "compression": "gzip"}, {}),
        ]
        for options, want in rows:
            with self.subTest(options):
                work.apply_async(**options)
                body = self.memory.bodies[-1]
                self.assertEqual({k: body.get(k) for k in want}, want)
        for late in ({"countdown": 10, "expires": 5}, {"expires": datetime.datetime(2020, 1, 1)}, {"expires": -1}):
            with self.subTest(late):
                result = work.apply_async(**late)
                self.assertNotIn("expires", self.memory.bodies[-1])
                headers = self.memory.stored[result.id]["body"]["headers"]
                headers["expires_at"] = "2020-01-01T00:00:00Z"  # as if the time were over
                with self.assertRaisesRegex(exceptions.TaskRevokedError, "expired"):
                    result.get(timeout=30)
                self.assertEqual(result.state, "REVOKED")
        with self.assertRaisesRegex(ValueError, "serializer='pickle'"):
            work.apply_async(serializer="pickle")

    def test_arguments_as_json(self) -> None:
        @self.app.task(typing=False)
        def echo(value: Any) -> Any: ...

        id = uuid.uuid4()
        rows: List[Any] = [
            ((1, 2), [1, 2]),
            (datetime.datetime(2020, 1, 2, 3, 4, 5), "2020-01-02T03:04:05"),
            (datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc), "2020-01-02T00:00:00Z"),
            (datetime.date(2020, 1, 2), "2020-01-02T00:00:00"),
            (decimal.Decimal("1.50"), "1.50"),
            (id, str(id)),
            ({1: "a"}, {"1": "a"}),
        ]
        for value, want in rows:
            with self.subTest(value):
                echo.delay(value)
                self.assertEqual(self.memory.bodies[-1]["args"], [want])
        for bad in (float("nan"), float("inf"), {1, 2}, object()):
            with self.subTest(bad), self.assertRaises((TypeError, ValueError)):
                echo.delay(bad)

    def test_headers_reach_the_request(self) -> None:
        @self.app.task(bind=True)
        def show(self: Any, n: int) -> Any:
            request = self.request
            return [request.headers, request.trace, request.get("other"), request.id, request.args, request.retries]

        result = show.apply_async((1,), headers={"trace": "abc"})
        self.assertEqual(result.get(timeout=30), [{"trace": "abc"}, "abc", None, result.id, [1], 0])

    def test_before_task_publish_may_add_headers(self) -> None:
        @self.app.task(bind=True)
        def show(self: Any) -> Any:
            return self.request.user

        def add(headers: Any = None, **_: Any) -> None:
            headers["user"] = headers["task"]

        published: List[Any] = []

        def after(sender: Any, headers: Any, **_: Any) -> None:
            published.append((sender, headers["id"]))

        signals.before_task_publish.connect(add, sender=show.name)
        signals.after_task_publish.connect(after, sender=show.name)
        result = show.delay()
        self.assertEqual(result.get(timeout=30), show.name)
        self.assertEqual(published, [(show.name, result.id)])

    def test_send_task_by_name(self) -> None:
        result = self.app.send_task("elsewhere.add", [1], {"y": 2}, queue="other")
        body = self.memory.bodies[-1]
        self.assertEqual((body["task"], body["queue"], body["id"]), ("elsewhere.add", "other", result.id))
        self.assertNotIn("max_retries", body)

    def test_revoke(self) -> None:
        @self.app.task
        def work() -> None: ...

        result = work.apply_async(countdown=60)
        result.revoke()
        self.assertEqual(result.state, "REVOKED")
        with self.assertRaises(exceptions.TaskRevokedError):
            result.get(timeout=30)
        other = work.delay()
        self.app.control.revoke([other.id], terminate=True)
        self.assertEqual(other.state, "REVOKED")
        self.app.control.revoke("no such task")

    def test_an_unknown_id_is_pending(self) -> None:
        result = self.app.AsyncResult("nothing")
        self.assertEqual(result.state, "PENDING")
        with self.assertRaises(exceptions.TimeoutError):
            result.get(timeout=0.01, interval=0.001)


class Ends(Quiet):
    def run_task(self, fun: Any, *args: Any, **options: Any) -> Any:
        result = self.app.task(**options)(fun).delay(*args)
        self.memory.run()
        return result

    def test_exceptions_come_back(self) -> None:
        for exc in (ValueError("no"), KeyError("k"), CustomError(7, "text"), exceptions.Reject("bad")):
            with self.subTest(exc):

                def fail(exc: Any = exc) -> None:
                    raise exc

                result = self.run_task(fail, name=f"fail-{type(exc).__name__}")
                self.assertEqual(result.state, "FAILURE")
                self.assertEqual((type(result.result), str(result.result)), (type(exc), str(exc)))
                with self.assertRaises(type(exc)):
                    result.get(timeout=30)
                self.assertIn("Traceback", result.traceback)

    def test_error_texts(self) -> None:
        for exc in (ValueError("a: b\nc"), ValueError(), KeyError("k"), CustomError(1, "t"), exceptions.TaskRevokedError("expired")):
            with self.subTest(exc):
                again = _errors.parse(_errors.describe(exc))
                self.assertEqual((type(again.exception), again.exception.args, again.traceback), (type(exc), exc.args, None))
        try:
            raise ValueError("x" * 200_000)
        except ValueError as exc:
            text = _errors.describe(exc)
        self.assertLess(len(text.encode()), 60_000)
        self.assertIsInstance(_errors.parse(text).exception, ValueError)
        self.assertEqual(str(_errors.parse("exit status: 3").exception), "exit status: 3")

    def test_an_exception_that_cannot_be_imported(self) -> None:
        class Local(Exception):
            pass

        def fail() -> None:
            raise Local("inside")

        result = self.run_task(fail)
        self.assertIsInstance(result.result, exceptions.TaskError)
        self.assertEqual((type(result.result).__name__, str(result.result)), ("Local", "inside"))

    def test_a_result_that_json_cannot_hold_fails(self) -> None:
        self.assertIsInstance(self.run_task(lambda: float("nan"), name="nan").result, ValueError)
        self.assertIsInstance(self.run_task(lambda: object(), name="object").result, TypeError)

    def test_ignore_result(self) -> None:
        result = self.run_task(lambda: 5, name="quiet", ignore_result=True)
        self.assertEqual((result.state, result.result), ("SUCCESS", None))

    def test_ignore_and_reject(self) -> None:
        def ignored() -> None:
            raise exceptions.Ignore()

        self.assertEqual(self.run_task(ignored).state, "SUCCESS")

        def marked() -> None:
            current_task.update_state(state=states.FAILURE, meta="not today")
            raise exceptions.Ignore()

        self.assertEqual(str(self.run_task(marked).result), "not today")
        calls: List[int] = []

        def requeued() -> int:
            calls.append(1)
            if len(calls) == 1:
                raise exceptions.Reject("later", requeue=True)
            return len(calls)

        result = self.run_task(requeued)
        self.assertEqual((result.get(timeout=30), result.retries), (2, 0))

    def test_update_state(self) -> None:
        shown: List[Any] = []

        def work() -> None:
            current_task.update_state(state="PROGRESS", meta={"current": 1, "total": 4})
            report = self.memory.channels[current_task.request.id].reports[-1]
            self.memory.stored[current_task.request.id]["json"].update(note=report["note"], progress=report["progress"])
            result = current_task.AsyncResult(current_task.request.id)
            shown.append((result.state, result.info, report["progress"]))

        self.assertEqual(self.run_task(work).state, "SUCCESS")
        self.assertEqual(shown, [("PROGRESS", {"current": 1, "total": 4}, 25)])

        def large() -> None:
            current_task.update_state(state="PROGRESS", meta="x" * 5000)

        self.assertIsInstance(self.run_task(large).result, ValueError)

    def test_a_time_limit_is_final(self) -> None:
        result = self.app.task(name="slow", time_limit=1)(lambda: 1).delay()
        for text in ("the attempt was killed after its time limit of 1 s", "timed out after 1s"):
            raw = {"id": result.id, "task": "slow", "failures": [{"error": text}]}
            with self.assertRaisesRegex(gale.Fail, r"\Agale.celery.exceptions.TimeLimitExceeded: 1\.?"):
                self.app.handler("slow")(gale.Job({"task": raw, "timeout": 1}, Channel()))

    def test_lost_and_timed_out_tasks(self) -> None:
        result = self.run_task(lambda: 1, name="lost")
        task = self.memory.stored[result.id]["json"]
        for state, error, want in (
            ("dead", "lost five times", exceptions.WorkerLostError),
            ("failed", "timed out after 5s", exceptions.TimeLimitExceeded),
            ("failed", "exit status 3", exceptions.TaskError),
            ("cancelled", "purged", exceptions.TaskRevokedError),
        ):
            task.update(state=state, error=error)
            again = self.app.AsyncResult(result.id)
            self.assertIs(type(again.result), want)
            self.assertEqual(str(again.result), error)


class Retries(Quiet):
    def test_autoretry(self) -> None:
        @self.app.task(bind=True, autoretry_for=(OSError,), retry_backoff=True, retry_jitter=False, max_retries=4)
        def flaky(self: Any, good: int) -> int:
            if self.request.retries < good:
                raise OSError("not yet")
            return int(self.request.retries)

        result = flaky.delay(3)
        self.assertEqual(result.get(timeout=30), 3)
        self.assertEqual(self.memory.delays[result.id], [1, 2, 4])
        failed = flaky.delay(9)
        with self.assertRaisesRegex(OSError, "not yet"):
            failed.get(timeout=30)
        self.assertEqual(self.memory.delays[failed.id], [1, 2, 4, 8])

    def test_retry(self) -> None:
        moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=5)
        rows: List[Any] = [({"countdown": 7}, 7), ({}, 180), ({"eta": moment}, 300)]
        for i, (options, want) in enumerate(rows):
            with self.subTest(options):

                @self.app.task(bind=True, name=f"retry-{i}")
                def work(self: Any, options: Any = options) -> int:
                    if self.request.retries:
                        return 1
                    raise self.retry(**options)

                result = work.delay()
                self.assertEqual(result.get(timeout=30), 1)
                self.assertAlmostEqual(self.memory.delays[result.id][0], want, delta=60 if "eta" in options else 0)

    def test_retry_limits(self) -> None:
        @self.app.task(bind=True, max_retries=2, default_retry_delay=1)
        def always(self: Any, exc: Any = None, **options: Any) -> None:
            self.retry(exc=ValueError("mine") if exc else None, **options)

        rows: List[Any] = [
            ((), {}, exceptions.MaxRetriesExceededError, 2),
            ((True,), {}, ValueError, 2),
            ((), {"max_retries": 4}, exceptions.MaxRetriesExceededError, 4),
            ((), {"max_retries": 0}, exceptions.MaxRetriesExceededError, 0),
        ]
        for args, kwargs, error, count in rows:
            with self.subTest(args=args, kwargs=kwargs):
                result = always.apply_async(args, kwargs)
                with self.assertRaises(error):
                    result.get(timeout=30)
                self.assertEqual(len(self.memory.delays.get(result.id, [])), count)

    def test_retry_without_throw(self) -> None:
        @self.app.task(bind=True)
        def work(self: Any) -> str:
            if not self.request.retries:
                self.retry(countdown=1, throw=False)
            return "done"

        result = work.delay()
        self.assertEqual(result.get(timeout=30), "done")
        self.assertEqual(self.memory.delays[result.id], [1])

    def test_retry_with_other_arguments_is_refused(self) -> None:
        @self.app.task(bind=True)
        def work(self: Any, n: int) -> None:
            self.retry(args=[n + 1])

        self.assertIsInstance(self._failure(work.delay(1)), NotImplementedError)

    def _failure(self, result: Any) -> Any:
        self.memory.run()
        return result.result

    def test_a_direct_call_raises_the_exception_itself(self) -> None:
        @self.app.task(bind=True, autoretry_for=(OSError,))
        def work(self: Any) -> None:
            raise OSError("direct")

        with self.assertRaisesRegex(OSError, "direct"):
            work()

    def test_backoff(self) -> None:
        self.assertEqual([backoff(2, n, 50, False) for n in range(7)], [2, 4, 8, 16, 32, 50, 50])
        self.assertEqual(backoff(1, 1000, 600, False), 600)
        self.assertTrue(all(0 <= backoff(1, 3, 600, True) <= 8 for _ in range(50)))


class Hooks(Quiet):
    def test_hooks_and_signals_in_order(self) -> None:
        calls: List[str] = []

        class Base(Task):
            def before_start(self, *args: Any) -> None:
                calls.append("before_start")

            def on_success(self, retval: Any, *args: Any) -> None:
                calls.append(f"on_success {retval}")

            def on_failure(self, exc: Any, id: Any, args: Any, kwargs: Any, einfo: Any) -> None:
                calls.append(f"on_failure {exc!r} {'Traceback' in str(einfo)}")

            def on_retry(self, exc: Any, *args: Any) -> None:
                calls.append(f"on_retry {exc!r}")

            def after_return(self, status: str, *args: Any) -> None:
                calls.append(f"after_return {status}")

        @self.app.task(bind=True, base=Base, max_retries=1, default_retry_delay=1)
        def work(self: Any, how: str) -> str:
            if how == "retry":
                self.retry(exc=ValueError("v"))
            if how == "fail":
                raise ValueError("v")
            return how

        def signal(name: str) -> Any:
            def receive(sender: Any, **fields: Any) -> None:
                calls.append(f"{name} {sender.name == work.name}")

            return receive

        receivers = [signal(n) for n in ("prerun", "postrun", "success", "failure", "retry")]
        for name, receiver in zip(("prerun", "postrun", "success", "failure", "retry"), receivers):
            getattr(signals, "task_" + name).connect(receiver, sender=work)
        rows = {
            "ok": ["prerun True", "before_start", "on_success ok", "success True", "after_return SUCCESS", "postrun True"],
            "fail": ["prerun True", "before_start", "on_failure ValueError('v') True", "failure True", "after_return FAILURE", "postrun True"],
        }
        for how, want in rows.items():
            calls.clear()
            work.delay(how)
            self.memory.run()
            self.assertEqual(calls, want)
        calls.clear()
        work.delay("retry")
        self.memory.run()
        self.assertEqual(calls[2:5], ["on_retry ValueError('v')", "retry True", "postrun True"])
        self.assertIn("on_failure ValueError('v') True", calls)

    def test_a_signal_handler_that_fails_does_not_fail_the_task(self) -> None:
        @self.app.task
        def work() -> int:
            return 1

        def broken(**_: Any) -> None:
            raise RuntimeError("broken")

        signals.task_prerun.connect(broken, sender=work)
        self.assertEqual(work.delay().get(timeout=30), 1)
        self.assertTrue(signals.task_prerun.disconnect(broken, sender=work))

    def test_class_based_tasks(self) -> None:
        class Add(Task):
            name = "classes.add"
            max_retries = 7

            def run(self, x: int) -> int:
                return x + 1

        add = self.app.register_task(Add())
        self.assertEqual(add.delay(1).get(timeout=30), 2)
        self.assertEqual(self.app.tasks["classes.add"].max_retries, 7)
        custom = self.app.task(name="other", anything=5)(lambda: None)
        self.assertEqual(custom.anything, 5)

    def test_shared_tasks_belong_to_the_current_application(self) -> None:
        @shared_task(bind=True, name="shared.work")
        def work(self: Any, n: int) -> int:
            """Doc."""
            return n + 1

        self.assertEqual((work.name, work.__doc__, work(1)), ("shared.work", "Doc.", 2))
        self.assertIs(work.app, current_app._get_current_object())
        later = Celery("later")
        memory = later.backend = Memory(later)
        self.assertEqual(work.delay(5).get(timeout=30), 6)
        self.assertEqual(len(memory.bodies), 1)
        self.assertIsInstance(work, Task)

    def test_task_logger(self) -> None:
        logger = get_task_logger("proj.tasks")
        self.assertEqual(logger.parent.name if logger.parent else None, "celery.task")


class Eager(Quiet):
    def setUp(self) -> None:
        super().setUp()
        self.app.conf.task_always_eager = True

    def test_always_eager(self) -> None:
        @self.app.task(bind=True, max_retries=2)
        def work(self: Any, good: int) -> Any:
            if self.request.retries < good:
                self.retry(countdown=1000)
            return [self.request.retries, self.request.is_eager]

        self.assertEqual(work.delay(1).get(), [1, True])
        self.assertEqual(work.delay(9).state, "FAILURE")
        self.assertEqual(self.memory.bodies, [])
        self.app.conf.task_eager_propagates = True
        with self.assertRaises(exceptions.Retry):
            work.delay(9)


class Worker(Quiet):
    def test_announcements(self) -> None:
        self.app.conf.update(task_default_queue="main", task_time_limit=100)

        @self.app.task(queue="q", rate_limit="10/m", time_limit=60, soft_time_limit=50)
        def limited() -> None: ...

        @self.app.task(rate_limit=5, name="plain")
        def plain() -> None: ...

        entries = {e["name"]: e for e in self.app.announcements()}
        self.assertEqual(
            entries[limited.name],
            {"name": limited.name, "queue": "q", "max_retries": 100, "rate": "10/m", "timeout": 60, "soft_timeout": 50},
        )
        self.assertEqual(entries["plain"], {"name": "plain", "queue": "main", "max_retries": 100, "rate": "5/s", "timeout": 100})
        self.assertIn("celery.starmap", entries)
        json.dumps(self.app.announcements())
        self.assertIsNone(self.app.handler("unknown"))

    def test_soft_time_limit_is_the_exception_of_the_worker(self) -> None:
        self.assertIs(exceptions.SoftTimeLimitExceeded, gale.SoftTimeLimit)


if __name__ == "__main__":
    unittest.main()
