"""Mails. The mail server fails now and then."""

from celery import shared_task


class MailServerDown(Exception):
    pass


@shared_task(bind=True, autoretry_for=(MailServerDown,), retry_backoff=1, retry_jitter=False, max_retries=5)
def send_mail(self, to, text):
    if self.request.retries == 0:
        raise MailServerDown("connection refused")
    print("mail to %s: %s" % (to, text))
    return "sent at attempt %d" % (self.request.retries + 1)
