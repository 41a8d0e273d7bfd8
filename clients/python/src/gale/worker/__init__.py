"""The worker: python3 -m gale worker MODULE:APP.

The parent (parent.py) speaks HTTP and runs no code of the application. The second process
(starter.py) imports the application and forks the processes that run tasks (attempt.py).
"""
