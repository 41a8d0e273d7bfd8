"""Settings, routing, discovery of modules, and what is not supported."""

from __future__ import annotations

import datetime
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import types
import unittest
from typing import Any

from gale.celery import Celery, current_task, signals
from gale.celery.exceptions import ImproperlyConfigured, NotRegistered, OperationalError
from tests.celery.memory import Memory


class Settings(unittest.TestCase):
    def test_sources(self) -> None:
        module = types.ModuleType("settings_of_test")
        vars(module).update(
            CELERY_TASK_ALWAYS_EAGER=True, CELERY_TIMEZONE="Europe/Berlin", CELERY_RESULT_BACKEND="redis://r",
            CELERY_ACCEPT_CONTENT=["json"], DEBUG=True, CELERY_BEAT_SCHEDULE={},
        )
        sys.modules[module.__name__] = module
        self.addCleanup(sys.modules.pop, module.__name__)
        app = Celery("django-like")
        app.config_from_object("settings_of_test", namespace="CELERY")
        self.assertEqual((app.conf.task_always_eager, app.conf.timezone), (True, "Europe/Berlin"))
        self.assertEqual((app.conf["result_backend"], "debug" in app.conf), ("redis://r", False))
        rows: Any = [
            {"task_always_eager": True, "task_default_queue": "q"},
            {"CELERY_ALWAYS_EAGER": True, "CELERY_DEFAULT_QUEUE": "q"},
            types.SimpleNamespace(CELERY_ALWAYS_EAGER=True, CELERY_DEFAULT_QUEUE="q"),
            types.SimpleNamespace(task_always_eager=True, task_default_queue="q"),
        ]
        for source in rows:
            with self.subTest(source):
                app = Celery("other")
                app.config_from_object(source)
                self.assertEqual((app.conf.task_always_eager, app.conf.task_default_queue), (True, "q"))
        app = Celery("third", broker="redis://b", task_time_limit=5)
        app.conf.update(task_routes={"a": "b"}, mine=7)
        app.conf.task_ignore_result = True
        self.assertEqual((app.conf.task_time_limit, app.conf.mine, app.conf.task_ignore_result), (5, 7, True))
        with self.assertRaises(AttributeError):
            app.conf.no_such_setting

    def test_defaults_are_not_shared(self) -> None:
        Celery("one").conf.beat_schedule["a"] = {}
        self.assertEqual(Celery("two").conf.beat_schedule, {})

    def test_what_json_cannot_carry_is_refused(self) -> None:
        for name, value in (
            ("task_serializer", "pickle"), ("result_serializer", "yaml"), ("accept_content", ["pickle"]),
            ("accept_content", ["json", "pickle"]), ("CELERY_TASK_SERIALIZER", "pickle"), ("timezone", "Mars/Olympus"),
        ):
            with self.subTest(name, value=value), self.assertRaisesRegex(ImproperlyConfigured, re.escape(repr(value))):
                Celery("wrong").conf[name] = value
        with self.assertRaisesRegex(ImproperlyConfigured, "task .*pickled: serializer='pickle'"):
            Celery("wrong").task(serializer="pickle", name="pickled")(lambda: None)

    def test_the_server(self) -> None:
        saved = os.environ.pop("GALE_URL", None)
        self.addCleanup(lambda: os.environ.update({"GALE_URL": saved} if saved else {}))
        app = Celery("proj", broker="redis://localhost")
        with self.assertRaisesRegex(OperationalError, "GALE_URL"):
            app.send_task("a")
        app = Celery("proj", broker="http://127.0.0.1:9")
        self.assertEqual(app.client.transport.timeout, 30.0)

    def test_naive_moments_are_in_the_time_zone_without_utc(self) -> None:
        app: Any = Celery("proj", timezone="Europe/Berlin", enable_utc=False)
        memory = app.backend = Memory(app)
        app.send_task("a", eta=datetime.datetime(2030, 7, 1, 9, 0))
        self.assertEqual(memory.bodies[0]["eta"], "2030-07-01T07:00:00Z")


class Routing(unittest.TestCase):
    def test_routes(self) -> None:
        def router(name: str, args: Any, kwargs: Any, options: Any, task: Any = None, **_: Any) -> Any:
            return {"queue": "by-function"} if name == "f" else None

        class Old:
            def route_for_task(self, task: str, args: Any = None, kwargs: Any = None) -> Any:
                return "old" if task == "o" else None

        class Queue:
            name = "object"

        routes: Any = (
            {"feeds.one": {"queue": "one"}, "feeds.*": "feeds", re.compile(r"(video|image)\..*"): {"queue": "media"}},
            router, Old(), [("pair.*", {"queue": "pairs"})],
        )
        rows = {"feeds.one": "one", "feeds.two": "feeds", "image.scale": "media", "f": "by-function", "o": "old", "pair.a": "pairs", "else": None}
        app: Any = Celery("proj", task_routes=routes)
        memory = app.backend = Memory(app)
        for name, want in rows.items():
            app.send_task(name)
            self.assertEqual(memory.bodies[-1].get("queue"), want, name)
        app.send_task("feeds.one", queue="explicit")
        self.assertEqual(memory.bodies[-1]["queue"], "explicit")
        app.send_task("a", queue=Queue())
        self.assertEqual(memory.bodies[-1]["queue"], "object")
        app.conf.task_routes = {"a": "changed"}
        app.conf.task_default_queue = "normal"
        app.send_task("a")
        app.send_task("b")
        self.assertEqual([b["queue"] for b in memory.bodies[-2:]], ["changed", "normal"])


PROJECT = {
    "proj/__init__.py": "",
    "proj/celery.py": """
        from gale.celery import Celery
        app = Celery("proj", include=["proj.more"])
        app.config_from_object("proj.celeryconfig")
        app.autodiscover_tasks(["proj.blog", "proj.shop"])
        app.autodiscover_tasks(lambda: ["proj.blog"], related_name="jobs")
        """,
    "proj/celeryconfig.py": "task_annotations = {'proj.more.extra': {'rate_limit': '1/m'}}\n",
    "proj/more.py": "from .celery import app\n@app.task\ndef extra(): pass\n",
    "proj/blog/__init__.py": "",
    "proj/blog/tasks.py": "from gale.celery import shared_task\n@shared_task\ndef publish(): pass\n",
    "proj/blog/jobs.py": "from gale.celery import shared_task\n@shared_task\ndef job(): pass\n",
    "proj/shop/__init__.py": "",
}


class Discovery(unittest.TestCase):
    def project(self, **files: str) -> pathlib.Path:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for name, text in {**PROJECT, **files}.items():
            path = pathlib.Path(folder.name, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = text.split("\n")
            path.write_text("\n".join(line[8:] if line.startswith(" " * 8) else line for line in lines))
        return pathlib.Path(folder.name)

    def python(self, folder: pathlib.Path, code: str, **env: str) -> "subprocess.CompletedProcess[str]":
        source = str(pathlib.Path(__file__).parents[2] / "src")
        return subprocess.run(
            [sys.executable, "-c", code], cwd=folder, env={**os.environ, "PYTHONPATH": source, **env}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )

    def test_modules_are_found(self) -> None:
        ran = self.python(
            self.project(),
            "from proj.celery import app\n"
            "entries = {e['name']: e for e in app.announcements()}\n"
            "print(sorted(n for n in entries if n.startswith('proj')), entries['proj.more.extra']['rate'])",
        )
        self.assertEqual(ran.stdout, "['proj.blog.jobs.job', 'proj.blog.tasks.publish', 'proj.more.extra'] 1/m\n", ran.stderr)

    def test_logging_of_a_worker(self) -> None:
        code = (
            "import logging, gale\n"
            "from gale.celery import signals, Celery\n"
            "from gale.celery.utils.log import get_task_logger\n"
            "from gale.job import Channel\n"
            "if SETUP: signals.setup_logging.connect(lambda **_: True, weak=False)\n"
            "signals.after_setup_task_logger.connect(lambda logger, **_: logger.warning('set up'), weak=False)\n"
            "app = Celery('proj')\n"
            "@app.task(name='speak')\n"
            "def speak(): get_task_logger('proj').info('hello')\n"
            "[hook() for hook in app.start_hooks]\n"
            "app.handler('speak')(gale.Job({'task': {'id': 'one'}}, Channel()))\n"
        )
        ran = self.python(self.project(), code.replace("SETUP", "False"))
        self.assertRegex(ran.stderr, r"WARNING/MainProcess\] \?\?\?\[\?\?\?\]: set up\n")
        self.assertRegex(ran.stderr, r"INFO/MainProcess\] speak\[one\]: hello\n")
        self.assertIn("Task speak[one] succeeded", ran.stderr)
        self.assertNotIn("set up", self.python(self.project(), code.replace("SETUP", "True")).stderr)

    def test_an_error_in_a_module_is_not_hidden(self) -> None:
        folder = self.project(**{"proj/shop/tasks.py": "import no_such_module\n"})
        ran = self.python(folder, "from proj.celery import app; app.announcements()")
        self.assertIn("No module named 'no_such_module'", ran.stderr)
        self.assertNotEqual(ran.returncode, 0)

    def test_django(self) -> None:
        django = {
            "django/__init__.py": "def setup():\n    import django.apps\n    django.apps.ready = True\n",
            "django/apps.py": """
        ready = False
        class Config:
            name = "proj.blog"
        class apps:
            @staticmethod
            def get_app_configs():
                assert ready, "django.setup was not called"
                return [Config]
        """,
            "django/conf.py": "class settings:\n    CELERY_TASK_DEFAULT_QUEUE = 'django'\n    DEBUG = True\n",
            "django/db.py": """
        closed = []
        def close_old_connections():
            closed.append(1)
        class connections:
            @staticmethod
            def all():
                return []
        """,
            "proj/celery.py": """
        from gale.celery import Celery
        app = Celery("proj")
        app.config_from_object("django.conf:settings", namespace="CELERY")
        app.autodiscover_tasks()
        """,
        }
        ran = self.python(
            self.project(**django),
            "from proj.celery import app\n"
            "entries = app.announcements()\n"
            "print([(e['name'], e['queue']) for e in entries if e['name'].startswith('proj')])\n"
            "import gale, django.db\n"
            "from gale.job import Channel\n"
            "[hook() for hook in app.start_hooks]\n"
            "app.handler('proj.blog.tasks.publish')(gale.Job({'task': {'id': 'a', 'task': 'x'}}, Channel()))\n"
            "print(django.db.closed)",
            DJANGO_SETTINGS_MODULE="proj.settings",
        )
        self.assertEqual(ran.stdout, "[('proj.blog.tasks.publish', 'django')]\n[1, 1]\n", ran.stderr)


class Surface(unittest.TestCase):
    def test_every_name_that_modules_import(self) -> None:
        import gale.celery.app.task
        import gale.celery.canvas
        import gale.celery.exceptions
        import gale.celery.result
        import gale.celery.schedules
        import gale.celery.signals
        import gale.celery.states
        import gale.celery.utils.log

        for module, names in {
            "": "Celery shared_task Task current_app current_task chain chord chunks group signature subtask uuid Signature",
            ".app.task": "Task Context",
            ".app": "Celery shared_task app_or_default",
            ".canvas": "Signature chain chord group chunks signature maybe_signature subtask xmap xstarmap",
            ".result": "AsyncResult EagerResult GroupResult ResultSet allow_join_result result_from_tuple",
            ".schedules": "crontab schedule solar maybe_schedule",
            ".exceptions": "Retry Ignore Reject MaxRetriesExceededError SoftTimeLimitExceeded TimeLimitExceeded TimeoutError "
            "TaskRevokedError NotRegistered ImproperlyConfigured WorkerLostError ChordError OperationalError CeleryError",
            ".states": "PENDING STARTED SUCCESS FAILURE RETRY REVOKED READY_STATES PROPAGATE_STATES",
            ".utils.log": "get_task_logger get_logger",
            ".utils": "uuid",
        }.items():
            for name in names.split():
                self.assertTrue(hasattr(sys.modules["gale.celery" + module], name), f"gale.celery{module}.{name}")

    def test_what_is_not_supported_says_what_to_use(self) -> None:
        app: Any = Celery("proj")
        app.backend = Memory(app)
        task = app.task(name="a")(lambda: None)
        calls: Any = [
            (lambda: app.control.purge(), "server tasks purge"),
            (lambda: app.control.rate_limit("a", "1/m"), "rate_limit"),
            (lambda: app.control.inspect().stats(), "console"),
            (lambda: app.amqp, "task_routes"),
            (lambda: app.worker_main(), "python3 -m gale worker"),
            (lambda: task.replace(task.s()), "chain"),
            (lambda: app.AsyncResult("x").then(print), "link"),
            (lambda: task.send_event("x"), "update_state"),
        ]
        for call, text in calls:
            with self.subTest(text), self.assertRaisesRegex(NotImplementedError, text):
                call()
        with self.assertRaises(NotRegistered):
            app.tasks["unknown"]
        with self.assertRaises(AttributeError):
            app.no_such_thing

    def test_inspect(self) -> None:
        app: Any = Celery("proj")
        memory = app.backend = Memory(app)
        work = app.task(name="work")(lambda: None)
        self.assertIsNone(app.control.inspect().active())
        waiting, later = work.delay(), work.apply_async(countdown=60)
        running = work.delay()
        memory.stored[running.id]["json"].update(state="running", worker="w1")
        inspect = app.control.inspect()
        self.assertEqual([t["id"] for t in inspect.active()["w1"]], [running.id])
        self.assertEqual([t["id"] for t in inspect.reserved()["gale"]], [waiting.id])
        self.assertEqual([t["request"]["id"] for t in inspect.scheduled()["gale"]], [later.id])
        self.assertIn("work", inspect.registered()["gale"])
        self.assertEqual(inspect.query_task(later.id)["gale"][later.id][0], "scheduled")

    def test_signals_of_a_worker(self) -> None:
        app: Any = Celery("proj")
        sent: Any = []

        def init(sender: Any, **_: Any) -> None:
            sent.append(("init", sender.app))

        def ready(sender: Any, **_: Any) -> None:
            sent.append(("ready", sender.app))

        signals.worker_init.connect(init)
        signals.worker_ready.connect(ready)
        self.addCleanup(signals.worker_init.disconnect, init)
        self.addCleanup(signals.worker_ready.disconnect, ready)
        app.announcements()
        self.assertEqual(sent, [])
        app.schedules()
        self.assertEqual(sent, [("init", app), ("ready", app)])

    def test_ping(self) -> None:
        app: Any = Celery("proj")
        memory = app.backend = Memory(app)
        self.assertEqual(app.control.ping(), [{"w0": {"ok": "pong"}}])
        self.assertIsNone(app.control.inspect(["other"]).ping())
        memory.run = lambda: None
        self.assertEqual(app.control.ping(timeout=0.01), [])
        self.assertEqual([t["task"] for t in memory.tasks("cancelled")], ["celery.ping"])

    def test_current_task_is_false_outside_a_task(self) -> None:
        self.assertFalse(current_task)


if __name__ == "__main__":
    unittest.main()
