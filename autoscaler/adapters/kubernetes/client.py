"""Connecting, calling within a timeout, and the one place where foreign exceptions become ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http.client import HTTPException
from typing import TypeVar

from kubernetes import config
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException, OpenApiException
from kubernetes.config import ConfigException
from kubernetes.config.kube_config import KUBE_CONFIG_DEFAULT_LOCATION
from urllib3.exceptions import HTTPError

from autoscaler.adapters.kubernetes.telling import has_causes, tell, tell_config
from autoscaler.adapters.kubernetes.transport import AnswerError, BoundedRest, NotSentError
from autoscaler.errors import (
    AutoscalerError,
    ConfigError,
    ConflictError,
    ForbiddenError,
    TargetReadError,
    TargetWriteError,
    UnknownWriteError,
)

__all__ = ["ApiClient", "ObjectClient", "Right", "connect", "load_client", "need"]

FIELD_MANAGER = "ollama-autoscaler"
"""Our name in the API's managed fields, and in its audit log."""

_TIMEOUT = timedelta(seconds=5)

# Everything that the client, what it stands on, and an answer of the wrong shape can raise.
_FOREIGN = (
    AnswerError,
    NotSentError,
    OpenApiException,
    ConfigException,
    HTTPError,
    HTTPException,
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    RecursionError,
)

_T = TypeVar("_T")


def load_client(kubeconfig: str | None = None, context: str | None = None) -> ApiClient:
    """Connect as a pod does, or by a kubeconfig where one is named or this is no pod.

    `KUBECONFIG` and `~/.kube/config` are what the official loader honours; in a pod it reads the
    rotating token again every minute. Nothing is retried: the next cycle is the retry, and a
    retried read would take a multiple of its timeout. Raises ConfigError.
    """
    configuration = Configuration()
    try:
        if kubeconfig is None and context is None:
            try:
                config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
            except ConfigException:
                _load_file(configuration)
        else:
            _load_file(configuration, config_file=kubeconfig, context=context)
        return connect(configuration)
    except Exception as error:  # the loaders let through what YAML, files and plug-ins raise
        is_named = kubeconfig or context
        where = "kubeconfig" if is_named else "no usable service account, and kubeconfig"
        raise ConfigError(
            f"kubernetes: {where} {kubeconfig or KUBE_CONFIG_DEFAULT_LOCATION}: "
            f"{tell_config(error)}",
            next_step="run in a cluster, set KUBECONFIG, or name a file with which "
            "`kubectl --kubeconfig FILE get pods` works",
        ) from error


def connect(configuration: Configuration) -> ApiClient:
    """Return a client whose calls are bounded in time and size, and made once."""
    configuration.retries = False
    client = ApiClient(configuration)
    client.rest_client = BoundedRest(configuration)
    client.user_agent = FIELD_MANAGER
    return client


def _load_file(configuration: Configuration, **options: str | None) -> None:
    config.load_kube_config(client_configuration=configuration, **options)  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """One thing that the API must allow us."""

    verb: str
    resource: str
    subresource: str = ""
    group: str = ""

    def __str__(self) -> str:
        """`patch deployments/scale.apps`."""
        resource = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return f"{self.verb} {resource}.{self.group}" if self.group else f"{self.verb} {resource}"


GET_DEPLOYMENT = Right(verb="get", resource="deployments", group="apps")


class ObjectClient:
    """Calls about one object, each given up after a time and translated where it fails."""

    def __init__(
        self, *, namespace: str, name: str, client: ApiClient, timeout: timedelta = _TIMEOUT
    ) -> None:
        """Talk about the object of this name through a client of `load_client`.

        The timeout bounds each call as a whole, from the connection to the answer's last byte.
        """
        self._namespace = namespace
        self._name = name
        self._client = client
        self._timeout = timeout.total_seconds()

    def _call(
        self, expected: type[_T], method: Callable[..., object], *args: object, **options: object
    ) -> _T:
        """Call the API, and refuse an answer that is not what was asked for."""
        answer = method(*args, _request_timeout=self._timeout, **options)
        if not isinstance(answer, expected):
            raise AnswerError(f"answer is {type(answer).__name__}, must be {expected.__name__}")
        return answer

    @contextmanager
    def _reading(self, right: Right) -> Iterator[None]:
        with self._translating(f"cannot {right}", TargetReadError):
            yield

    @contextmanager
    def _translating(self, what: str, otherwise: type[AutoscalerError]) -> Iterator[None]:
        """Turn every foreign exception into ours: the only place that does."""
        try:
            yield
        except _FOREIGN as error:
            message = f"{self._namespace}/{self._name}: {what}: {tell(error)}"
            raise _class_of(error, otherwise)(message) from error


def need(value: _T | None) -> _T:
    """Insist on a part that the API always fills in and its types call optional."""
    if value is None:
        raise AnswerError("answer lacks a part that every such object has")
    return value


def _class_of(error: Exception, otherwise: type[AutoscalerError]) -> type[AutoscalerError]:
    """Choose our class for a failed write; a failed read has only one."""
    if otherwise is not TargetWriteError:
        return otherwise
    if isinstance(error, NotSentError):
        return TargetWriteError
    status = (error.status or 0) if isinstance(error, ApiException) else 0
    if status == 403:
        return ForbiddenError
    # A patch that does not apply is Invalid without causes; an impossible value names its field.
    if status == 409 or (status == 422 and not has_causes(error)):
        return ConflictError
    # Only a clear no says that nothing was written. A 5xx may come after the write, and so may
    # everything that is no answer.
    return TargetWriteError if 300 <= status < 500 else UnknownWriteError
