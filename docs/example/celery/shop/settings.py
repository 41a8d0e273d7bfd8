from celery.schedules import crontab

CELERY_BROKER_URL = "redis://127.0.0.1:6390/0"
CELERY_RESULT_BACKEND = "redis://127.0.0.1:6390/0"
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_BEAT_SCHEDULE = {
    "count orders": {"task": "shop.orders.count", "schedule": 2.0},
    "report": {"task": "shop.orders.report", "schedule": crontab(minute=0, hour=6)},
}
