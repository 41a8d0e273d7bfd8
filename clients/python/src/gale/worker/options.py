"""Options of a worker."""

from dataclasses import dataclass, field
from typing import List, Tuple


@dataclass
class Options:
    """What the command line says; see cli.py for the flags. Sizes are in bytes, 0 is no limit."""

    place: str = ""
    concurrency: int = 1
    queues: List[Tuple[str, int]] = field(default_factory=lambda: [("default", 0)])
    method: str = "fork"
    name: str = ""
    version: str = ""
    level: str = "info"
    max_tasks: int = 0
    max_rss: int = 0
    kill_rss: int = 0
    boot_timeout: float = 60.0
    grace: float = 0.0
    url: str = ""
    token: str = ""
