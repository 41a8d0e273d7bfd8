"""Applications: the tasks that a worker runs."""

import functools
import inspect
import threading
import typing
from typing import Any, Callable, Dict, Generic, List, Mapping, Optional, Tuple, TypeVar, Union, overload

from .client import Client
from .job import NAME, Job
from .schema import of_function
from .task import Call, Task

F = TypeVar("F", bound=Callable[..., Any])


class TaskFunction(Generic[F]):
    """A function that is a task. Calling it runs the function here and now.

    name is the name under which it is enqueued. options are those of App.task. run is what
    a worker calls: it gets the Job and returns the result, a value that JSON has.
    """

    def __init__(self, function: F, name: str, options: Mapping[str, Any]) -> None:
        self.function = function
        self.name = name
        self.options: Dict[str, Any] = {k: v for k, v in options.items() if v is not None}
        self.app: Optional["App"] = None
        self._job_parameter, self._job_position = _job_parameter(function)
        functools.update_wrapper(self, function)  # type: ignore[arg-type]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def run(self, job: Job) -> Any:
        """Run the function with the arguments of job."""
        args, kwargs = list(job.args), dict(job.kwargs)
        if 0 <= self._job_position <= len(args):
            args.insert(self._job_position, job)
        elif self._job_parameter is not None:
            kwargs[self._job_parameter] = job
        return self.function(*args, **kwargs)

    def schema(self) -> Optional[Dict[str, Any]]:
        """Return a JSON Schema of the arguments, or None to accept all."""
        return of_function(self.function, {self._job_parameter} if self._job_parameter else set())

    def announcement(self) -> Dict[str, Any]:
        """Return the entry of POST /workers/announce."""
        entry: Dict[str, Any] = {"name": self.name, "max_retries": 0, **self.options}
        schema = self.schema()
        if schema is not None:
            entry["schema"] = schema
        return entry

    def call(self, *args: Any, **kwargs: Any) -> Call:
        """Return a Call with these arguments, for Client.enqueue, chain and group."""
        return Call(self.name, args, kwargs)

    def enqueue(self, *args: Any, **kwargs: Any) -> "Enqueued":
        """Enqueue the task with these arguments, by the client of its App.

        Use Client.enqueue(task.call(…), countdown=…) for options.
        """
        client = (self.app or App()).client
        task = client.enqueue(self.call(*args, **kwargs))
        return Enqueued(client, task)


class Enqueued:
    """A task that was enqueued: its id, and a way to wait for it."""

    def __init__(self, client: Client, task: Task) -> None:
        self._client = client
        self.id = task.id

    def get(self) -> Task:
        """Return the task as it is now."""
        return self._client.get(self.id)

    def wait(self, timeout: Optional[float] = None, *, check: bool = True) -> Task:
        """Wait until it has ended; see Client.wait."""
        return self._client.wait(self.id, timeout, check=check)

    def cancel(self) -> Task:
        """Cancel it; see Client.cancel."""
        return self._client.cancel(self.id)


def _job_parameter(function: Callable[..., Any]) -> Tuple[Optional[str], int]:
    """Return the parameter that wants the Job, annotated with Job or named job, and its position.

    The position is -1 if there is none, or if it can only be given by name.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None, -1
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # a hint may name anything
        hints = {}
    for position, (name, parameter) in enumerate(parameters.items()):
        hint = hints.get(name, parameter.annotation)
        if hint is Job or hint == Optional[Job] or hint in ("Job", "gale.Job") or (hint is parameter.empty and name == "job"):
            return name, -1 if parameter.kind is parameter.KEYWORD_ONLY else position
    return None, -1


def _make(function: Callable[..., Any], name: Optional[str], options: Mapping[str, Any]) -> "TaskFunction[Any]":
    name = name or function.__name__
    if not NAME.fullmatch(name):
        raise ValueError(f"task name {name!r}: use up to 128 letters, digits, '.', '_' and '-'")
    retries = options.get("max_retries")
    if retries is not None and not 0 <= retries <= 100:
        raise ValueError(f"task {name}: max_retries {retries} is not between 0 and 100")
    for limit in ("timeout", "soft_timeout"):
        if options.get(limit) is not None and options[limit] < 0:
            raise ValueError(f"task {name}: {limit} is negative")
    return TaskFunction(function, name, options)


@overload
def task(function: F) -> "TaskFunction[F]": ...


@overload
def task(
    function: None = None,
    *,
    name: Optional[str] = None,
    queue: Optional[str] = None,
    max_retries: Optional[int] = None,
    timeout: Optional[float] = None,
    soft_timeout: Optional[float] = None,
    rate: Optional[str] = None,
) -> "Callable[[F], TaskFunction[F]]": ...


def task(function: Optional[Callable[..., Any]] = None, *, name: Optional[str] = None, **options: Any) -> Any:
    """Make a task of a function, as App.task does, for an App that is made elsewhere.

    "python3 -m gale worker MODULE" runs all such functions of a module, and App.add adds
    one to an App.
    """
    unknown = set(options) - {"queue", "max_retries", "timeout", "soft_timeout", "rate"}
    if unknown:
        raise TypeError(f"task: unknown option {', '.join(sorted(unknown))}")
    if function is None:
        return lambda f: _make(f, name, options)
    return _make(function, name, options)


class App:
    """A set of tasks, and the client that enqueues them.

    client defaults to Client(), made when it is first needed.
    """

    def __init__(self, client: Optional[Client] = None) -> None:
        self.tasks: Dict[str, "TaskFunction[Any]"] = {}
        self.start_hooks: List[Callable[[], object]] = []
        self.stop_hooks: List[Callable[[], object]] = []
        self._client = client
        self._lock = threading.Lock()

    @property
    def client(self) -> Client:
        """The client that enqueues tasks."""
        with self._lock:
            if self._client is None:
                self._client = Client()
            return self._client

    def add(self, function: "TaskFunction[Any]") -> None:
        """Add a task. ValueError: another task has its name."""
        if self.tasks.setdefault(function.name, function) is not function:
            raise ValueError(f"two tasks have the name {function.name}")
        function.app = self

    @overload
    def task(self, function: F) -> "TaskFunction[F]": ...

    @overload
    def task(
        self,
        function: None = None,
        *,
        name: Optional[str] = None,
        queue: Optional[str] = None,
        max_retries: Optional[int] = None,
        timeout: Optional[float] = None,
        soft_timeout: Optional[float] = None,
        rate: Optional[str] = None,
    ) -> "Callable[[F], TaskFunction[F]]": ...

    def task(self, function: Optional[Callable[..., Any]] = None, **options: Any) -> Any:
        """Make a task of a function, with or without options.

        - name: the default is the name of the function.
        - queue: the default is "default".
        - max_retries: how often an attempt that raised an exception is repeated, 0 to 100;
          the default is 0. Retry and Fail decide for a single attempt.
        - timeout: seconds after which the process of an attempt is killed; 0 is no limit.
        - soft_timeout: seconds after which SoftTimeLimit is raised inside the attempt.
        - rate: attempts that may start over all workers, such as "10/s", "100/m", "5/h".

        A parameter that is annotated with Job, or is named job and has no annotation, gets the
        Job; callers do not give it.
        """

        def decorate(function: Callable[..., Any]) -> "TaskFunction[Any]":
            made = task(function, **options)
            self.add(made)
            return made  # type: ignore[no-any-return]

        return decorate if function is None else decorate(function)

    def on_start(self, hook: Callable[[], object]) -> Callable[[], object]:
        """Call hook in each worker process before its first task, for example to connect."""
        self.start_hooks.append(hook)
        return hook

    def on_stop(self, hook: Callable[[], object]) -> Callable[[], object]:
        """Call hook in each worker process that ends in an orderly way."""
        self.stop_hooks.append(hook)
        return hook

    def announcements(self) -> List[Dict[str, Any]]:
        """Return the entries of POST /workers/announce."""
        return [self.tasks[name].announcement() for name in sorted(self.tasks)]

    def schedules(self) -> List[Dict[str, Any]]:
        """Return schedules as JSON objects, which the worker's parent runs; none here."""
        return []

    def handler(self, name: str) -> Optional[Callable[[Job], Any]]:
        """Return what runs a task with this name: it gets the Job and returns the result."""
        found: Union[None, "TaskFunction[Any]"] = self.tasks.get(name)
        return None if found is None else found.run
