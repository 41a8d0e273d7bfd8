"""An unchanged Celery client: it sends tasks and waits for their results.

Usage: celery_client.py BROKER COUNT. It prints "half" once half of the results have come, and
one JSON object at the end.
"""

import json
import sys

from celery import Celery, chain, chord, group
from celery.exceptions import TaskRevokedError

broker, count = sys.argv[1], int(sys.argv[2])
app = Celery("client", broker=broker, backend=broker)


def say(*args, **options):
    return app.signature("say", args=args, **options)


sent = [app.send_task("say", (f"n{i}",)) for i in range(count)]
results = []
for number, each in enumerate(sent):
    each.ready()  # get waits a second for an event, also if the result has come with an earlier one
    results.append(each.get(timeout=120)["output"])
    if number == count // 2:
        print("half", flush=True)

gz = app.send_task("say", ("small",), compression="gzip", priority=6).get(timeout=120)["output"]
try:
    app.send_task("fail", ()).get(timeout=120)
    failure = "none"
except Exception as e:  # whatever the client raises
    failure = f"{type(e).__name__}: {e}"
late = app.send_task("say", ("late",), countdown=3600)
while app.backend.client.hexists("gale:celery:waiting", late.id) == 0:
    pass
late.revoke()
try:
    late.get(timeout=120)
    revoked = "none"
except TaskRevokedError:
    revoked = "revoked"
last = chain(say("a"), say("b", immutable=True), app.signature("two", args=("c",))).apply_async()
chained = last.get(timeout=120)["output"]
joined = chord([say("x"), say("y")], app.signature("say"))().get(timeout=120)["output"]
grouped = [r["output"] for r in group(say("1"), say("2")).apply_async().get(timeout=120)]
print(json.dumps({"results": results, "gz": gz, "failure": failure, "revoked": revoked, "chained": chained, "joined": joined, "grouped": grouped}))
