"""The application that the tests of the worker run."""

import ctypes
import os
import signal
import subprocess
import sys
import time

import gale

app = gale.App()


@app.task
def add(a: int, b: int = 2) -> int:
    return a + b


@app.task
def noop() -> None:
    return None


@app.task(max_retries=2)
def flaky(job: gale.Job) -> int:
    if job.retries < 2:
        raise ValueError("not yet")
    return job.retries


@app.task(max_retries=5)
def fail_at_once() -> None:
    raise gale.Fail("no use")


@app.task(max_retries=5)
def retry_once(job: gale.Job) -> str:
    if job.retries == 0:
        raise gale.Retry("again", delay=0.05)
    return job.headers["user"]


@app.task
def release_once(path: str) -> str:
    if not os.path.exists(path):
        open(path, "w").close()
        raise gale.Release(1.5)
    return "released"


@app.task
def nan() -> float:
    return float("nan")


@app.task
def large() -> str:
    return "x" * (2 << 20)


@app.task
def exit_now(status: int) -> None:
    os._exit(status)


@app.task
def sys_exit() -> None:
    sys.exit("bye")


@app.task
def segfault() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


@app.task
def allocate() -> None:
    kept = []
    while True:
        kept.append(b"x" * (8 << 20))
        time.sleep(0.01)


@app.task(timeout=1)
def hang_blocked(path: str) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    _write(path, os.getpid())
    while True:
        time.sleep(1000)


@app.task(soft_timeout=0.3, timeout=30)
def soft() -> str:
    try:
        time.sleep(60)
    except gale.SoftTimeLimit:
        return "cleaned up"
    return "not interrupted"


@app.task
def wait_for(path: str, pid_file: str) -> str:
    _write(pid_file, os.getpid())
    while not os.path.exists(path):
        time.sleep(0.02)
    return "done"


@app.task
def hold_lock(path: str) -> None:
    """Wait in C code that holds the interpreter lock: lock a mutex of pthreads twice."""
    mutex = ctypes.create_string_buffer(256)
    _write(path, os.getpid())
    for _ in range(2):
        ctypes.PyDLL(None).pthread_mutex_lock(mutex)


@app.task
def cleanup_on_cancel(path: str, pid_file: str) -> None:
    _write(pid_file, os.getpid())
    try:
        time.sleep(60)
    finally:
        _write(path, 1)


@app.task
def daemon(path: str) -> str:
    """Leave a daemon behind: it leaves the process group and is orphaned."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            _write(path, os.getpid())
            time.sleep(1000)
        os._exit(0)
    while not os.path.exists(path):
        time.sleep(0.01)
    return "left"


@app.task
def daemon_and_die(path: str) -> None:
    daemon.function(path)
    os._exit(3)


@app.task
def gigabyte(megabytes: int) -> str:
    line = "y" * 1023 + "\n"
    for _ in range(megabytes * 1024):
        sys.stdout.write(line)
    print("the last line")
    return "printed"


@app.task
def talk(job: gale.Job) -> int:
    print("hello")
    job.progress(40, "half way", {"step": 1})
    print("to stderr", file=sys.stderr)
    subprocess.run(["echo", "of a child"], check=True)
    job.artifact("report.txt", b"content")
    job.next(add.call(1, 1).with_options(id="next-of-talk"))
    return os.getpid()


@app.task
def refused_artifact(job: gale.Job) -> None:
    job.artifact("refused.bin", b"x")


@app.task
def pid() -> int:
    return os.getpid()


@app.task
def trace(job: gale.Job) -> list:
    """Enqueue a task, and return the trace of this attempt three times."""
    gale.Client(os.environ["GALE_URL"]).enqueue("noop", id=job.id + "-next")
    child = subprocess.run(["/bin/sh", "-c", "echo $TRACEPARENT"], check=True, capture_output=True, text=True)
    return [job.headers.get("traceparent"), os.environ.get("TRACEPARENT"), child.stdout.strip()]


@app.task
def version() -> str:
    with open(os.environ["VERSION_FILE"]) as file:
        return file.read()


def _write(path: str, value: int) -> None:
    with open(path + ".new", "w") as file:
        file.write(str(value))
    os.rename(path + ".new", path)
