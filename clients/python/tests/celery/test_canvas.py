"""Workflows, enqueued on a server in memory and run through the worker's handlers."""

from __future__ import annotations

import json
import logging
import unittest
from typing import Any

from gale.celery import Celery, Signature, chain, chord, chunks, group, signature
from gale.celery.exceptions import ChordError, MaxRetriesExceededError
from gale.celery.result import GroupResult, allow_join_result
from tests.celery.memory import Memory


def application() -> Any:
    app = Celery("proj")

    @app.task
    def add(x: int, y: int = 0) -> int:
        return x + y

    @app.task
    def sub(x: int, y: int) -> int:
        return x - y

    @app.task
    def total(values: Any) -> int:
        return sum(values)

    @app.task
    def boom(*args: Any) -> None:
        raise KeyError("missing", 7)

    @app.task
    def note(*args: Any, **kwargs: Any) -> Any:
        seen.append((args, kwargs))

    seen: Any = []
    app.seen = seen
    app.add, app.sub, app.total, app.boom, app.note = add, sub, total, boom, note
    app.backend = Memory(app)
    return app


class Workflows(unittest.TestCase):
    def setUp(self) -> None:
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        self.app = application()
        self.memory = self.app.backend

    def test_values(self) -> None:
        add, sub, total = self.app.add, self.app.sub, self.app.total
        rows = {
            "a chain passes the previous result first": (add.s(1, 9) | sub.s(3), 7),
            "an immutable signature takes no result": (add.s(1, 9) | add.si(2, 2) | sub.s(1), 3),
            "chain of a list": (chain([add.s(1, 1), add.s(2), add.s(3)]), 7),
            "keywords": (add.s(1, y=2) | add.s(y=5), 8),
            "chains in a chain": (chain(add.s(1, 1), chain(add.s(1), add.s(1)), add.s(1)), 5),
            "a chord passes a list in the order of its members": (chord([sub.s(9, i) for i in range(3)], total.s()), 24),
            "group | task is a chord": (group(add.s(i, i) for i in range(4)) | total.s(), 12),
            "a chord's body may be a chain": (chord([add.s(1, 1), add.s(2, 2)], total.s() | sub.s(1)), 5),
            "a group inside a chain": (add.s(1, 1) | group(add.s(1), add.s(2)) | total.s() | add.s(10), 17),
            "an immutable body": (chord([add.s(1, 1)], add.si(3, 4)), 7),
            "chords one after the other": (
                chord([add.s(1, 1)], total.s()) | group(add.s(1), add.s(2)) | total.s() | add.s(1), 8),
            "an immutable member of a group in a chain": (add.s(1, 1) | group(add.s(1), add.si(5, 5)) | total.s(), 13),
            "an immutable group in a chain": (add.s(1, 1) | group(add.si(1, 1), add.si(5, 5)) | total.s(), 12),
            "groups in a group": (group(group(add.s(1, 1), add.s(1, 2)), add.s(1, 3)) | total.s(), 9),
            "a chord of one member": (chord([add.s(4, 4)], total.s()), 8),
            "map": (add.map([1, 2, 3]), [1, 2, 3]),
            "starmap": (add.starmap([(1, 1), (2, 2)]), [2, 4]),
            "an empty chord": (chord([], total.s()), 0),
        }
        for name, (sig, want) in rows.items():
            with self.subTest(name):
                self.assertEqual(sig.apply_async().get(timeout=30), want)
                self.app.conf.task_always_eager = True
                try:
                    self.assertEqual(sig.apply_async().get(timeout=30), want, "eager")
                finally:
                    self.app.conf.task_always_eager = False
                again = signature(json.loads(json.dumps(sig)), app=self.app)
                self.assertEqual(again.apply_async().get(timeout=30), want, "after JSON")

    def test_a_chain_is_enqueued_in_one_step(self) -> None:
        result = (self.app.add.s(1, 1) | self.app.add.s(2) | self.app.add.s(3)).delay()
        self.assertEqual(len(self.memory.bodies), 1)
        elements = self.memory.bodies[0]["chain"]
        self.assertEqual([e.get("results") for e in elements], [None, "prepend", "prepend"])
        self.assertEqual(elements[2]["id"], result.id)
        self.assertEqual([result.parent.id, result.parent.parent.id], [elements[1]["id"], elements[0]["id"]])

    def test_a_group_has_the_results_of_its_members(self) -> None:
        result = group(self.app.add.s(i, 1) for i in range(3)).apply_async()
        self.assertIsInstance(result, GroupResult)
        self.assertEqual((result.completed_count(), result.ready()), (0, False))
        self.assertEqual(result.get(timeout=30), [1, 2, 3])
        self.assertTrue(result.successful())
        restored = GroupResult.restore(result.id, app=self.app)
        self.assertEqual(restored, result)
        self.assertIsNone(GroupResult.restore("other", app=self.app))

    def test_partial_arguments_of_groups(self) -> None:
        self.assertEqual(group(self.app.sub.s(1), self.app.sub.s(2)).delay(10).get(timeout=30), [9, 8])

    def test_chunks_make_a_group(self) -> None:
        result = self.app.add.chunks([(i, i) for i in range(5)], 2)()
        self.assertEqual(result.get(timeout=30), [[0, 2], [4, 6], [8]])
        self.assertEqual(len(chunks(self.app.add.s(), [(1, 1)] * 5, 2).group().tasks), 3)

    def test_groups_of_chains_are_enqueued_one_by_one(self) -> None:
        add = self.app.add
        result = group(add.s(1, 1) | add.s(1), add.s(5, 5) | add.s(1)).apply_async()
        self.assertEqual(result.get(timeout=30), [3, 11])
        with self.assertRaisesRegex(NotImplementedError, "member of a chord"):
            chord([add.s(1, 1) | add.s(1), add.s(1, 1)], self.app.total.s()).apply_async()

    def test_nothing_is_enqueued_if_an_argument_is_wrong(self) -> None:
        before = len(self.memory.bodies)
        for sig in (self.app.add.s(1, 2, 3), self.app.add.s(1, 1) | self.app.add.s(float("nan"))):
            with self.assertRaises((TypeError, ValueError)):
                sig.apply_async()
        self.assertEqual(len(self.memory.bodies), before)

    def test_a_failed_task_ends_its_chain(self) -> None:
        result = (self.app.boom.s() | self.app.add.s(1)).apply_async()
        with self.assertRaises(KeyError) as caught:
            result.get(timeout=30)
        self.assertEqual(caught.exception.args, ("missing", 7))
        self.assertEqual((result.state, result.parent.state), ("FAILURE", "FAILURE"))
        self.assertIn("raise KeyError", result.parent.traceback)

    def test_a_failed_member_ends_the_chord(self) -> None:
        result = chord([self.app.add.s(1, 1), self.app.boom.s()], self.app.total.s()).apply_async()
        with self.assertRaises(ChordError):
            result.get(timeout=30)
        self.assertIsInstance(result.get(propagate=False), ChordError)
        self.assertEqual(result.parent.results[0].get(timeout=30), 2)

    def test_link_and_link_error(self) -> None:
        add, note = self.app.add, self.app.note
        add.apply_async((1, 2), link=[note.s("linked"), add.s(5) | note.s("chained")], link_error=note.s("never"))
        self.memory.run()
        self.assertEqual(self.app.seen, [((3, "linked"), {}), ((8, "chained"), {})])
        self.app.seen.clear()
        failed = self.app.boom.apply_async(link=note.s("never"), link_error=[note.s("own"), note.si("alone")])
        self.memory.run()
        (request, exc, traceback, own), _ = self.app.seen[0]
        self.assertEqual((request.id, type(exc), exc.args, own), (failed.id, KeyError, ("missing", 7), "own"))
        self.assertIn("raise KeyError", traceback)
        self.assertEqual(self.app.seen[1], (("alone",), {}))

    def test_an_error_callback_with_one_parameter_gets_the_id(self) -> None:
        got = []

        @self.app.task
        def on_error(id: str) -> None:
            got.append(id)

        failed = self.app.boom.apply_async(link_error=on_error.s())
        self.memory.run()
        self.assertEqual(got, [failed.id])

    def test_countdown_of_a_later_task_of_a_chain(self) -> None:
        result = (self.app.add.s(1, 1) | self.app.add.s(1).set(countdown=60)).apply_async()
        self.assertEqual(result.get(timeout=30), 3)
        (delay,) = self.memory.delays[result.id]
        self.assertGreater(delay, 30)

    def test_options_of_signatures(self) -> None:
        sig = self.app.add.s(1, 1).set(queue="high", task_id="mine-1")
        self.assertEqual(sig.apply_async().id, "mine-1")
        self.assertEqual(self.memory.bodies[-1]["queue"], "high")
        self.assertEqual(sig.clone(kwargs={"y": 3}).kwargs, {"y": 3})
        self.assertEqual(~self.app.add.s(2, 2), 4)
        self.assertEqual(self.app.add.s(2)(3), 5)
        self.assertEqual(Signature.from_dict(dict(sig), app=self.app), sig)

    def test_a_task_waits_for_another_one_only_if_allowed(self) -> None:
        @self.app.task
        def outer(allow: bool) -> Any:
            inner = self.app.add.apply((1, 1))
            if not allow:
                return inner.get()
            with allow_join_result():
                return inner.get()

        self.assertEqual(outer.delay(True).get(timeout=30), 2)
        with self.assertRaisesRegex(RuntimeError, "Never call result.get"):
            outer.delay(False).get(timeout=30)

    def test_max_retries_error_is_importable(self) -> None:
        @self.app.task(bind=True, max_retries=1)
        def again(self: Any) -> None:
            self.retry(countdown=5)

        result = again.delay()
        with self.assertRaises(MaxRetriesExceededError):
            result.get(timeout=30)
        self.assertEqual(self.memory.delays[result.id], [5.0])


if __name__ == "__main__":
    unittest.main()
