"""Prints what the application proj does, as a JSON object: behaviour to outcome."""

import datetime
import json
import os
import sys
import time
import uuid

from celery import chain, chord, current_app, group, signature
from celery.exceptions import ChordError, MaxRetriesExceededError, TaskRevokedError, TimeoutError
from celery.result import AsyncResult, GroupResult

from proj import app, tasks

WAIT = 60
ROWS = {}


def row(fun):
    ROWS[fun.__name__.replace("_", " ")] = fun


def outcome(result, **options):
    """The result of a task, or the names of its exception and state."""
    try:
        return result.get(timeout=WAIT, **options)
    except Exception as exc:
        return [type(exc).__name__, str(exc), result.state]


def lines(name, count):
    """The lines of a file of the tasks, once it has count of them."""
    path, end = os.path.join(tasks.FOLDER, name), time.monotonic() + WAIT
    while time.monotonic() < end:
        try:
            found = open(path).read().splitlines()
        except OSError:
            found = []
        if len(found) >= count:
            return found
        time.sleep(0.05)
    return "only " + repr(found)


def until(result, *states):
    end = time.monotonic() + WAIT
    while result.state not in states and time.monotonic() < end:
        time.sleep(0.02)
    return result.state


def touch(name):
    open(os.path.join(tasks.FOLDER, name), "w").close()


@row
def delay_with_arguments_and_keywords():
    return tasks.add.delay(1, y=2).get(timeout=WAIT)


@row
def a_direct_call():
    return [tasks.add(2, 3), tasks.add.name, tasks.total.name]


@row
def wrong_arguments():
    try:
        tasks.add.delay(1, 2, 3)
    except TypeError as exc:
        return str(exc).startswith("add() ")


@row
def states_before_and_after():
    result = tasks.add.apply_async((1, 1), countdown=1)
    before = [result.state, result.ready(), result.result]
    return [before, result.get(timeout=WAIT), result.status, result.ready(), result.successful(), result.failed(), result.info]


@row
def an_unknown_id():
    result = AsyncResult(str(uuid.uuid4()))
    try:
        result.get(timeout=0.2)
    except TimeoutError:
        return [result.state, "TimeoutError"]


@row
def a_chain():
    return (tasks.add.s(1, 9) | tasks.sub.s(3)).delay().get(timeout=WAIT)


@row
def a_chain_with_immutable_parts():
    return chain(tasks.add.s(1, 9), tasks.add.si(5, 5), tasks.sub.s(1)).apply_async().get(timeout=WAIT)


@row
def parents_of_a_chain():
    result = chain(tasks.add.s(1, 1), tasks.add.s(1), tasks.add.s(1))()
    result.get(timeout=WAIT)
    return [result.parent.get(timeout=WAIT), result.parent.parent.get(timeout=WAIT), result.parent.parent.parent]


@row
def a_failed_chain():
    result = chain(tasks.fail.s(), tasks.add.s(1))()
    return [outcome(result.parent), until(result, "FAILURE")]


@row
def a_later_countdown():
    first, second = tasks.started_at.s(), tasks.started_at.si().set(countdown=1)
    result = chain(first, second)()
    return result.get(timeout=WAIT) - result.parent.get(timeout=WAIT) >= 1


@row
def a_group():
    result = group(tasks.add.s(i, i) for i in range(5))()
    values = result.get(timeout=WAIT)
    return [values, result.completed_count(), result.successful(), len(result), [r.get() for r in result]]


@row
def a_saved_group():
    result = group(tasks.add.s(i, 1) for i in range(3)).apply_async()
    result.save()
    restored = GroupResult.restore(result.id)
    return [result.get(timeout=WAIT), restored == result, len(restored)]


@row
def arguments_of_a_group():
    return group(tasks.sub.s(1), tasks.sub.s(2)).delay(10).get(timeout=WAIT)


@row
def a_group_with_a_failure():
    result = group(tasks.add.s(1, 1), tasks.fail.s())()
    return [outcome(result.results[0]), outcome(result.results[1]), result.failed(), result.successful()]


@row
def a_chord():
    return chord([tasks.add.s(i, i) for i in range(10)])(tasks.total.s()).get(timeout=WAIT)


@row
def a_list_in_a_chord():
    return chord([tasks.sub.s(9, i) for i in range(4)], tasks.echo.s("own", k=1))().get(timeout=WAIT)


@row
def a_group_in_a_chain():
    flow = tasks.add.s(1, 1) | group(tasks.add.s(1), tasks.add.s(2)) | tasks.total.s() | tasks.add.s(10)
    return flow.delay().get(timeout=WAIT)


@row
def a_failed_chord():
    result = chord([tasks.add.s(1, 1), tasks.fail.s()], tasks.total.s())()
    error = result.get(timeout=WAIT, propagate=False)
    return [isinstance(error, ChordError), "ValueError" in str(error), result.state]


@row
def chunks_and_maps():
    chunked = tasks.add.chunks([(i, i) for i in range(5)], 2)()
    return [chunked.get(timeout=WAIT), tasks.total.map([[1, 2], [3]]).delay().get(timeout=WAIT), tasks.add.starmap([(1, 2), (3, 4)]).delay().get(timeout=WAIT)]


@row
def autoretry():
    return [tasks.flaky.delay(2).get(timeout=WAIT), outcome(tasks.flaky.delay(9))]


@row
def retry_until_the_limit():
    result = tasks.again.delay()
    try:
        result.get(timeout=WAIT)
    except MaxRetriesExceededError as exc:
        return [type(exc).__name__, "Can't retry proj.tasks.again[" + result.id + "]" in str(exc), outcome(tasks.again.delay(exc=True))]


@row
def exceptions():
    custom = tasks.fail.delay("custom")
    value = custom.get(timeout=WAIT, propagate=False)
    return [outcome(tasks.fail.delay()), outcome(tasks.fail.delay("key")), outcome(custom), value.code, "raise Rejected" in custom.traceback]


@row
def the_request():
    result = tasks.request.apply_async((1,), {"a": 2})
    found = result.get(timeout=WAIT)
    return [found[0] == result.id] + found[1:]


@row
def headers():
    return tasks.request.apply_async(headers={"other": "x"}).get(timeout=WAIT)[5]


@row
def a_given_id():
    id = "mine-" + str(uuid.uuid4())
    return [tasks.add.apply_async((1, 1), task_id=id).id == id, AsyncResult(id).get(timeout=WAIT)]


@row
def progress():
    name = "go-on-" + str(uuid.uuid4())
    result = tasks.progress.delay(name)
    state = until(result, "PROGRESS", "SUCCESS", "FAILURE")
    info = result.info
    touch(name)
    return [state, info, result.get(timeout=WAIT), result.state]


@row
def eta():
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
    return tasks.started_at.apply_async(eta=moment).get(timeout=WAIT) >= moment.timestamp()


@row
def a_naive_eta_is_utc():
    moment = datetime.datetime.utcnow() + datetime.timedelta(seconds=1)
    late = time.time() + 1
    return 0 <= tasks.started_at.apply_async(eta=moment).get(timeout=WAIT) - late + 0.01 < 1000


@row
def expires():
    return outcome(tasks.add.apply_async((1, 1), countdown=2, expires=1))


@row
def revoke_before_the_start():
    result = tasks.add.apply_async((1, 1), countdown=2)
    result.revoke()
    return outcome(result)


@row
def revoke_while_it_runs():
    name = str(uuid.uuid4())
    result = tasks.wait.delay(name)
    end = time.monotonic() + WAIT
    while name not in lines("running", 1) and time.monotonic() < end:
        time.sleep(0.02)
    app.control.revoke(result.id, terminate=True)
    try:
        result.get(timeout=WAIT)
    except TaskRevokedError:
        return result.state


@row
def soft_time_limit():
    return tasks.soft.delay().get(timeout=WAIT)


@row
def time_limit():
    return outcome(tasks.hard.delay())[::2]


@row
def routes():
    return tasks.routed.delay().get(timeout=WAIT)


@row
def link():
    tasks.add.apply_async((1, 2), link=tasks.note.s("linked"), link_error=tasks.note.s("never"))
    return lines("notes", 1)


@row
def link_error():
    first = tasks.fail.apply_async(link_error=tasks.on_error.s(), link=tasks.note.s("never"))
    second = tasks.fail.apply_async(link_error=tasks.on_error_id.s())
    found = lines("errors", 1)
    return [line.replace(first.id, "ID") for line in found] + [lines("error-ids", 1) == [second.id]]


@row
def hooks_and_signals():
    found = []
    for how, count in (("ok", 5), ("fail", 5), ("retry", 9)):
        result = tasks.hooked.delay(how)
        result.get(timeout=WAIT, propagate=False)
        found.append(sorted(lines("hooks", count)))
        open(os.path.join(tasks.FOLDER, "hooks"), "w").close()
    return found


@row
def send_task():
    return [app.send_task("proj.tasks.add", [3], {"y": 4}).get(timeout=WAIT), signature("proj.tasks.add", args=(1, 2)).delay().get(timeout=WAIT)]


@row
def values_on_the_way():
    sent = tasks.echo.delay((1, 2), {1: "é"}, datetime.datetime(2020, 1, 2, 3, 4, 5), uuid.UUID(int=5))
    return sent.get(timeout=WAIT)


@row
def signatures():
    sig = tasks.add.s(1).clone(kwargs={"y": 5})
    again = signature(json.loads(json.dumps(sig)))
    return [dict(sig)["args"], sig.kwargs, again.delay().get(timeout=WAIT), tasks.add.s(2)(3), repr(tasks.add.s(1, y=2))]


@row
def always_eager():
    current_app.conf.task_always_eager = True
    try:
        found = [
            tasks.add.delay(1, y=2).get(), tasks.flaky.delay(2).get(), tasks.flaky.delay(9).state,
            (tasks.add.s(1, 9) | tasks.sub.s(3)).delay().get(), chord([tasks.add.s(i, i) for i in range(3)])(tasks.total.s()).get(),
            group(tasks.add.s(i, 1) for i in range(2))().get(), type(tasks.add.delay(1)).__name__, tasks.fail.delay().state,
        ]
        current_app.conf.task_eager_propagates = True
        try:
            tasks.fail.delay()
        except ValueError as exc:
            found.append(str(exc))
        return found
    finally:
        current_app.conf.task_always_eager = current_app.conf.task_eager_propagates = False


@row
def apply():
    return [tasks.add.apply((1, 2)).get(), tasks.fail.apply().state, tasks.flaky.apply((1,)).result]


@row
def beat():
    found = lines("ticks", 3)
    return [all(line.startswith("tick ") for line in found), len(found) >= 3]


@row
def inspect():
    inspect = app.control.inspect(timeout=10)
    names = [name for names in inspect.registered().values() for name in names]
    return ["proj.tasks.add" in names, bool(app.control.ping(timeout=10))]


def main():
    wanted = sys.argv[1:]
    found = {}
    for name, fun in ROWS.items():
        if wanted and name not in wanted:
            continue
        try:
            found[name] = fun()
        except Exception as exc:
            found[name] = "raised %r" % exc
    json.dump(found, sys.stdout, indent=1, default=list)


if __name__ == "__main__":
    main()
