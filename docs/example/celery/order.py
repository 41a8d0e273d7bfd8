"""Places an order, as the web application does: python3 order.py CUSTOMER."""

import sys

import shop  # the applications of the project
from shop import mails, orders

print(orders.place(sys.argv[1], [("book", 2), ("poster", 1)]).get(timeout=60))
print(mails.send_mail.delay(sys.argv[1], "Thank you").get(timeout=60))
