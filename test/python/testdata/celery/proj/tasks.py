import os
import time

from celery import Task, current_task, shared_task, signals
from celery.exceptions import SoftTimeLimitExceeded
from celery.utils.log import get_task_logger

logger = get_task_logger(__name__)
FOLDER = os.environ["NOTES"]


def record(name, text):
    with open(os.path.join(FOLDER, name), "a") as file:
        file.write(text + "\n")


class Rejected(Exception):
    def __init__(self, code, why):
        super().__init__(code, why)
        self.code = code


@shared_task
def add(x, y=0):
    logger.info("add %s and %s", x, y)
    return x + y


@shared_task
def sub(x, y):
    return x - y


@shared_task(name="proj.sum")
def total(values):
    return sum(values)


@shared_task
def echo(*args, **kwargs):
    return [list(args), kwargs]


@shared_task
def note(*args):
    record("notes", " ".join(str(a) for a in args))


@shared_task
def fail(how="value"):
    if how == "custom":
        raise Rejected(7, "not today")
    if how == "key":
        raise KeyError("k")
    raise ValueError("no " + how)


@shared_task(bind=True, autoretry_for=(OSError,), retry_kwargs={"max_retries": 3, "countdown": 0})
def flaky(self, good):
    if self.request.retries < good:
        raise OSError("attempt %d" % self.request.retries)
    return self.request.retries


@shared_task(bind=True, max_retries=2, default_retry_delay=0)
def again(self, exc=None):
    self.retry(exc=ValueError("given") if exc else None)


@shared_task(bind=True)
def request(self, *args, **kwargs):
    r = self.request
    return [r.id, r.task, list(r.args), r.kwargs, r.retries, r.get("trace"), r.called_directly, current_task.name]


@shared_task(bind=True)
def progress(self, name):
    self.update_state(state="PROGRESS", meta={"current": 3, "total": 4})
    while not os.path.exists(os.path.join(FOLDER, name)):
        time.sleep(0.02)
    return "done"


@shared_task
def wait(name):
    record("running", name)
    while not os.path.exists(os.path.join(FOLDER, "stop")):
        time.sleep(0.02)


@shared_task(soft_time_limit=1)
def soft():
    try:
        time.sleep(300)
    except SoftTimeLimitExceeded:
        return "cleaned up"


@shared_task(time_limit=1)
def hard():
    time.sleep(300)


@shared_task
def started_at():
    return time.time()


@shared_task
def routed():
    return current_task.request.delivery_info["routing_key"]


@shared_task
def on_error(request, exc, traceback):
    record("errors", "%s %s %r %s" % (request.id, type(exc).__name__, str(exc), "raise ValueError" in traceback))


@shared_task
def on_error_id(id):
    record("error-ids", id)


@shared_task
def tick(name):
    record("ticks", "%s %d" % (name, time.time()))


class Hooked(Task):
    def before_start(self, task_id, args, kwargs):
        record("hooks", "before_start %s" % list(args))

    def on_success(self, retval, task_id, args, kwargs):
        record("hooks", "on_success %s" % retval)

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        record("hooks", "on_failure %r" % exc)

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        record("hooks", "on_retry %r" % exc)

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        record("hooks", "after_return %s" % status)


@shared_task(bind=True, base=Hooked, max_retries=1, default_retry_delay=0, throws=(KeyError,))
def hooked(self, how):
    if how == "retry" and not self.request.retries:
        self.retry(exc=ValueError("first"))
    if how == "fail":
        raise KeyError(how)
    return how


def signal(name, sender, **fields):
    if sender is not None and sender.name == hooked.name:
        record("hooks", name)


@signals.task_prerun.connect
def prerun(sender=None, **_):
    signal("task_prerun", sender)


@signals.task_postrun.connect
def postrun(sender=None, state=None, **_):
    signal("task_postrun " + str(state), sender)


@signals.before_task_publish.connect
def publish(sender=None, headers=None, **_):
    if sender == request.name:
        headers["trace"] = "published"
