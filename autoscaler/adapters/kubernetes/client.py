"""Connecting, calling within a timeout, and the one place where foreign exceptions become ours."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http.client import HTTPException
from typing import Any, TypeVar

from kubernetes import config
from kubernetes.client import ApiClient, AppsV1Api, Configuration, V1Deployment
from kubernetes.client.exceptions import ApiException, OpenApiException
from kubernetes.config import ConfigException
from urllib3.exceptions import HTTPError

from autoscaler.errors import (
    AutoscalerError,
    ConfigError,
    ConflictError,
    ForbiddenError,
    TargetReadError,
    TargetWriteError,
)

__all__ = ["ApiClient", "DeploymentClient", "Right", "load_client", "need"]

_TIMEOUT = timedelta(seconds=5)
_SHOWN_CHARACTERS = 300

# Everything that the client, what it stands on, and an answer of the wrong shape can raise.
_FOREIGN = (
    OpenApiException,
    ConfigException,
    HTTPError,
    HTTPException,
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
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
        configuration.retries = False
        return ApiClient(configuration)
    except Exception as error:  # the loaders let through what YAML, files and plug-ins raise
        where = f"kubeconfig {kubeconfig}" if kubeconfig else "no service account and no kubeconfig"
        raise ConfigError(
            f"kubernetes: {where}: {_first_line(error)}; run in a cluster, set KUBECONFIG, or name "
            "a file with which `kubectl --kubeconfig FILE get pods` works"
        ) from error


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


class DeploymentClient:
    """Calls about one Deployment, each given up after a time and translated where it fails."""

    def __init__(
        self, *, namespace: str, deployment: str, client: ApiClient, timeout: timedelta = _TIMEOUT
    ) -> None:
        """Talk to one Deployment through a client of `load_client`."""
        self._namespace = namespace
        self._name = deployment
        self._client = client
        self._timeout = timeout.total_seconds()

    def _call(
        self, expected: type[_T], method: Callable[..., object], *args: object, **options: object
    ) -> _T:
        """Call the API, and refuse an answer that is not what was asked for."""
        answer = method(*args, _request_timeout=self._timeout, **options)
        if not isinstance(answer, expected):
            raise TypeError(f"answered {type(answer).__name__} where {expected.__name__} belongs")
        return answer

    def _read_deployment(self) -> V1Deployment:
        with self._reading(GET_DEPLOYMENT):
            read = AppsV1Api(self._client).read_namespaced_deployment
            return self._call(V1Deployment, read, self._name, self._namespace)

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
            message = f"{self._namespace}/{self._name}: {what}: {_tell(error)}"
            raise _class_of(error, otherwise)(message) from error


def need(value: _T | None) -> _T:
    """Insist on a part that the API always fills in and its types call optional."""
    if value is None:
        raise ValueError("the answer lacks a part that every such object has")
    return value


def _class_of(error: Exception, otherwise: type[AutoscalerError]) -> type[AutoscalerError]:
    """Choose our class for a failed write; a failed read has only one."""
    if otherwise is not TargetWriteError or not isinstance(error, ApiException):
        return otherwise
    if error.status == 403:
        return ForbiddenError
    if error.status == 409 or (error.status == 422 and _is_failed_test(error)):
        return ConflictError
    return otherwise


def _is_failed_test(error: ApiException) -> bool:
    # A patch that does not apply is Invalid without causes; an impossible value names its field.
    details = _status_of(error).get("details")
    return not (isinstance(details, Mapping) and details.get("causes"))


def _status_of(error: ApiException) -> Mapping[str, Any]:
    """Return the Status object that came with a refusal; empty where it is none."""
    try:
        status = json.loads(error.body or "")
    except (TypeError, ValueError):
        return {}
    return status if isinstance(status, Mapping) else {}


def _tell(error: Exception) -> str:
    if isinstance(error, ApiException) and error.status:
        said = _status_of(error).get("message") or error.reason
        return f"HTTP {error.status}: {_one_line(said)}"
    return _first_line(error)


def _first_line(error: Exception) -> str:
    told = _one_line(error)
    return f"{type(error).__name__}: {told}" if told else type(error).__name__


def _one_line(told: object) -> str:
    return " ".join(str(told).split())[:_SHOWN_CHARACTERS]
