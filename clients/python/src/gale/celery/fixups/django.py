"""Django: set up before task modules are imported, and no connection that outlives its task."""

from __future__ import annotations

from typing import Any, List

from .. import signals
from ..utils.imports import add_working_directory


class DjangoFixup:
    """Is installed in every application if DJANGO_SETTINGS_MODULE is set."""

    def __init__(self, app: Any) -> None:
        self.app = app
        add_working_directory()
        signals.import_modules.connect(self._setup, sender=app)
        signals.worker_process_init.connect(self._forked, sender=app)
        signals.task_prerun.connect(self._close_old)
        signals.task_postrun.connect(self._close_old)

    def packages(self) -> List[str]:
        """Returns the applications of Django."""
        from django.apps import apps

        return [config.name for config in apps.get_app_configs()]

    def _setup(self, **_: Any) -> None:
        import django

        django.setup()

    def _forked(self, **_: Any) -> None:
        """Drops the connections that were opened before the fork, without a word to the database."""
        from django.db import connections

        for connection in connections.all():
            if connection.connection is not None:
                connection.inc_thread_sharing()
                connection.connection = None

    def _close_old(self, sender: Any, **_: Any) -> None:
        """Closes connections that are broken or too old."""
        if sender.app is not self.app or sender.request.is_eager:
            return
        from django.db import close_old_connections

        close_old_connections()
