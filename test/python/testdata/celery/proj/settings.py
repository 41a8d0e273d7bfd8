import os

from celery.schedules import crontab

CELERY_BROKER_URL = os.environ.get("BROKER", "")
CELERY_RESULT_BACKEND = os.environ.get("BROKER", "")
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_TRACK_STARTED = True
CELERY_TIMEZONE = "Europe/Berlin"
CELERY_TASK_ROUTES = {"proj.tasks.routed": {"queue": "other"}}
CELERY_BEAT_SCHEDULE = {
    "tick every second": {"task": "proj.tasks.tick", "schedule": 1.0, "args": ("tick",)},
    "nightly": {"task": "proj.tasks.tick", "schedule": crontab(minute=30, hour=3), "args": ("nightly",)},
}
