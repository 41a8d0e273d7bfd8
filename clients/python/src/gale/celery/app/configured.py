"""The part of an application that has its settings, and the server that they name."""

from __future__ import annotations

import datetime
import importlib
import logging
import os
import threading
from typing import Any, Callable, Dict, List, Optional

from ...client import Client
from .. import signals
from .._backend import Backend, Server
from ..exceptions import ImproperlyConfigured, OperationalError
from ..utils.imports import symbol_by_name
from .config import Settings, zone
from .routes import Router, routers

_log = logging.getLogger("celery")


class Configured:
    """Settings from several sources, read at the first use, and what follows from them."""

    def __init__(self) -> None:
        self.on_configure = signals.Signal("app.on_configure")
        self.on_after_configure = signals.Signal("app.on_after_configure")
        self._lock = threading.RLock()
        self._sources: List[Callable[[Settings], None]] = []
        self._conf: Optional[Settings] = None
        self._routers: Optional[List[Router]] = None
        self._routed: Any = None
        self._backend: Optional[Backend] = None
        self._mentioned: Dict[str, bool] = {}

    def _explicit(self, **settings: Any) -> None:
        ignored = {"amqp", "autofinalize", "backend", "events", "fixups", "loader", "log", "control", "result_backend"}
        given = {k: v for k, v in settings.items() if v is not None and k not in ignored}
        self._sources.append(lambda conf: conf.load(given, None))

    @property
    def conf(self) -> Settings:
        """The settings. They are read at the first use."""
        if self._conf is None:
            with self._lock:
                if self._conf is None:
                    self.on_configure.send(sender=self)
                    conf = Settings()
                    for source in self._sources:
                        source(conf)
                    self._conf = conf
                    self.on_after_configure.send(sender=self, source=conf)
        return self._conf

    @property
    def configured(self) -> bool:
        """Whether the settings have been read."""
        return self._conf is not None

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: Optional[str] = None
    ) -> None:
        """Reads settings from an object, a mapping, or the name of one ("django.conf:settings").

        With a namespace, only names that begin with it are settings: CELERY_TIMEZONE.
        """

        def load(conf: Settings) -> None:
            try:
                source = symbol_by_name(obj) if ":" in obj or "." not in obj else _module_or_object(obj)
            except TypeError:
                source = obj
            except ImportError:
                if silent:
                    return
                raise
            conf.load(source, namespace)

        with self._lock:
            self._sources.append(load)
            self._conf = None
            self._routers = None
        if force:
            self.conf

    def config_from_envvar(self, variable_name: str, silent: bool = False, force: bool = False) -> None:
        """Reads settings from the module that an environment variable names."""
        name = os.environ.get(variable_name)
        if not name:
            if silent:
                return
            raise ImproperlyConfigured(f"environment variable {variable_name} is not set: it must name a module")
        self.config_from_object(name, silent=silent, force=force)

    def add_defaults(self, fun: Any) -> None:
        """Adds settings that others replace; fun is a mapping or returns one."""
        with self._lock:
            self._sources.insert(0, lambda conf: conf.load(fun() if callable(fun) else fun, None))
            self._conf = None

    @property
    def timezone(self) -> Any:
        """The time zone of schedules; UTC unless the setting timezone names another one."""
        return zone(self.conf.timezone)

    def now(self) -> Any:
        """Returns the present moment in the time zone of the application."""
        return datetime.datetime.now(self.timezone)

    @property
    def routers(self) -> List[Router]:
        """The routers of the setting task_routes."""
        setting = self.conf.task_routes
        if self._routers is None or self._routed is not setting:
            self._routers, self._routed = routers(setting), setting
        return self._routers

    @property
    def backend(self) -> Backend:
        """The server, as this package sees it. A test may set another Backend."""
        with self._lock:
            if self._backend is None:
                self._backend = Server(self.client)
            return self._backend

    @backend.setter
    def backend(self, backend: Backend) -> None:
        self._backend = backend

    @property
    def client(self) -> Any:
        """A gale.Client of the server."""
        url = self.conf.broker_url
        if isinstance(url, str) and url.partition(":")[0] in ("http", "https", "unix"):
            return Client(url)
        try:
            return Client()
        except ValueError:
            raise OperationalError(
                "no server: set the environment variable GALE_URL, or broker_url to an http, https or unix URL"
            ) from None

    def mention(self, text: str) -> None:
        """Logs something once."""
        if not self._mentioned.setdefault(text, False):
            self._mentioned[text] = True
            _log.info("%s", text)


def _module_or_object(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return symbol_by_name(name)
