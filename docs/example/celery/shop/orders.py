"""Orders: three steps, of which the last one sends a mail."""

from celery import chain, chord, shared_task

from .mails import send_mail


@shared_task
def price(item, copies):
    return {"book": 12, "poster": 5}[item] * copies


@shared_task
def add_up(prices, customer):
    return {"customer": customer, "total": sum(prices)}


@shared_task
def confirm(order):
    send_mail.delay(order["customer"], "Your order: %(total)d euros" % order)
    return "confirmed %(total)d for %(customer)s" % order


@shared_task
def count():
    print("counting orders")


@shared_task
def report():
    print("report of the day")


def place(customer, items):
    """Enqueues an order and returns its result."""
    prices = chord([price.s(item, copies) for item, copies in items], add_up.s(customer))
    return chain(prices, confirm.s()).apply_async()
