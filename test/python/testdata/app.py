"""Tasks of the tests."""

import os
import time

import gale

app = gale.App()


@app.task
def square(n: int) -> int:
    time.sleep(0.02)
    return n * n


@app.task(max_retries=3)
def third_time(job: gale.Job) -> int:
    if job.retries < 2:
        raise ValueError("not yet")
    return job.retries


@app.task
def hold(path: str) -> int:
    """Report the pid of this process in a file named by it, and wait until path/go exists."""
    with open(os.path.join(path, str(os.getpid())), "w"):
        pass
    while not os.path.exists(os.path.join(path, "go")):
        time.sleep(0.02)
    return os.getpid()


@app.task
def report(job: gale.Job, text: str) -> None:
    print("printed", text)
    job.progress(50, "half")
    job.artifact("text.txt", text.encode())
