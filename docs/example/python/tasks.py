"""The application of docs/howto/write-a-python-worker.md."""

import time

import gale

app = gale.App()


@app.task(max_retries=3, timeout=60)
def add(a: int, b: int = 1) -> int:
    return a + b


@app.task(queue="reports", soft_timeout=30, timeout=40)
def report(job: gale.Job, title: str) -> str:
    for step in range(1, 4):
        job.progress(step * 30, f"page {step}")
        print("wrote page", step)
        time.sleep(0.1)
    job.artifact("report.txt", f"{title}\n".encode())
    job.next(add.call(1))
    return title
