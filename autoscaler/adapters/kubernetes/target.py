"""A Deployment as the loop sees and changes it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from http import HTTPStatus
from types import MappingProxyType

from kubernetes.client import AppsV1Api, CoreV1Api, V1DeleteOptions, V1Preconditions
from kubernetes.client.exceptions import ApiException
from urllib3 import HTTPResponse

from autoscaler.adapters.kubernetes.annotations import is_victim, marking, unmarking
from autoscaler.adapters.kubernetes.answers import Object, decode, needed, part, texts
from autoscaler.adapters.kubernetes.client import (
    FIELD_MANAGER,
    GET_DEPLOYMENT,
    ObjectClient,
    Right,
)
from autoscaler.adapters.kubernetes.events import ObjectRef
from autoscaler.adapters.kubernetes.target_state import PodDetails, seen_of, selector_of
from autoscaler.adapters.kubernetes.transport import AnswerError
from autoscaler.errors import ActError, TargetWriteError, UnknownWriteError
from autoscaler.ports import TargetState

_LIST_PODS = Right(verb="list", resource="pods")
READING = (GET_DEPLOYMENT, _LIST_PODS)
"""What KubernetesTarget needs to look, in the target's namespace."""
SCALING = (
    Right(verb="patch", resource="deployments", subresource="scale", group="apps"),
    Right(verb="patch", resource="pods"),
)
"""What it needs to scale."""
REPLACING = (Right(verb="delete", resource="pods"),)
"""What it needs to replace a pod."""
HUNG_GRACE_S = 30
"""What a pod that is replaced has to end. Its own grace period is for answers that are being
written; it writes none, and would drain for minutes, while who waits for it could ask again."""

_SIGNED = {"field_manager": FIELD_MANAGER}
_MERGE = {"_content_type": "application/merge-patch+json"}


class KubernetesTarget(ObjectClient):
    """A Deployment as a ScaleTarget; for one thread at a time.

    Pods are written to where the last read has shown them, and no other.
    """

    _uid = ""
    _pods: Mapping[str, PodDetails] = MappingProxyType({})
    _marked: frozenset[str] = frozenset()
    """Those whose marks are of an earlier call."""

    @property
    def about(self) -> ObjectRef:
        """Name the Deployment, as the last read has shown it, for an event."""
        return ObjectRef(
            api_version="apps/v1",
            kind="Deployment",
            namespace=self._namespace,
            name=self._name,
            uid=self._uid,
        )

    # --- reading ----------------------------------------------------------------------------

    def read(self) -> TargetState:
        """Read replicas and own pods; `ready` counts those that are ready and not being deleted.

        Raises TargetReadError.
        """
        with self._reading(GET_DEPLOYMENT):
            get = AppsV1Api(self._client).read_namespaced_deployment
            deployment = self._ask(get, self._name, self._namespace)
            selector = selector_of(deployment)
        with self._reading(_LIST_PODS):
            list_ = CoreV1Api(self._client).list_namespaced_pod
            listed = self._ask(list_, self._namespace, label_selector=selector)
            seen = seen_of(self._name, deployment, listed)
        self._uid, self._pods = seen.uid, seen.pods
        self._marked = frozenset(seen.state.marked)
        return seen.state

    # --- writing ----------------------------------------------------------------------------

    def scale(self, current: int, desired: int, victims: Sequence[str] = ()) -> None:
        """Set the replicas to `desired` if they still are `current`; mark the victims before.

        Raises ConflictError where they are not, ForbiddenError, TargetWriteError: then no mark of
        this call is left, but those of a change before, whose victims are on their way. Where
        nobody can tell whether the replicas are set now, UnknownWriteError: then the marks stay,
        since the victims may be on their way, too.
        """
        marked: list[str] = []
        try:
            for rank, victim in enumerate(victims if desired < current else ()):
                if victim not in self._marked:
                    marked.append(victim)  # first, since the answer may be lost
                self._mark(victim, rank)
        except BaseException:
            self._take_back(marked)
            raise
        try:
            self._set_replicas(current, desired)
        except UnknownWriteError:
            raise
        except BaseException:
            self._take_back(marked)
            raise

    def unmark(self, pods: Sequence[str]) -> None:
        """Take the marks off pods, and pass over those that are gone. Raises ActError.

        One that is refused does not keep the others from being tried; no answer at all does.
        """
        refused: ActError | None = None
        for pod in pods:
            try:
                self._patch_pod(f"take the mark off pod {pod}", pod, unmarking)
                self._marked -= {pod}
            except UnknownWriteError:
                raise
            except ActError as error:
                refused = refused or error
        if refused is not None:
            raise refused

    def replace(self, pod: str) -> None:
        """Delete one pod, unless it is gone already.

        Raises ConflictError where another has its name now, ForbiddenError, TargetWriteError;
        where nobody can tell whether it was deleted, UnknownWriteError.
        """
        same = V1Preconditions(uid=self._details(pod).uid)
        options = V1DeleteOptions(
            preconditions=same,
            propagation_policy="Background",
            grace_period_seconds=HUNG_GRACE_S,
        )
        with self._writing(f"delete pod {pod}"), _passing_over_the_gone():
            delete = CoreV1Api(self._client).delete_namespaced_pod
            self._ask(delete, pod, self._namespace, body=options)

    def _set_replicas(self, current: int, desired: int) -> None:
        # The API leaves a count of 0 out of the scale: there `null` is what the test meets.
        patch: list[Object] = [
            {"op": "test", "path": "/spec/replicas", "value": current or None},
            {"op": "replace" if current else "add", "path": "/spec/replicas", "value": desired},
        ]
        with self._writing(f"scale from {current} to {desired}"):
            write = AppsV1Api(self._client).patch_namespaced_deployment_scale
            scale = self._ask(write, self._name, self._namespace, patch, **_SIGNED)
            told = part(part(scale, "spec", dict) or {}, "replicas", int) or 0
            if told != desired:
                raise AnswerError(f"answer has {told} replicas, must have {desired}")

    def _mark(self, pod: str, rank: int) -> None:
        what = f"mark pod {pod}"
        answer = self._patch_pod(what, pod, partial(marking, rank=rank))
        with self._writing(what):
            got = texts(needed(answer, "metadata", dict), "annotations") if answer else None
            if got is not None and not is_victim(got, rank):
                raise AnswerError("answer lacks the mark")

    def _take_back(self, marked: Sequence[str]) -> None:
        """Take marks back as far as that goes: why it is done is what the caller must hear."""
        with suppress(Exception):
            self.unmark(marked)

    def _patch_pod(
        self, what: str, pod: str, patch: Callable[[str | None], Object]
    ) -> Object | None:
        """Patch a pod, knowing its cost before ours; None where it is gone."""
        body = patch(self._details(pod).cost)
        with self._writing(what), _passing_over_the_gone():
            write = CoreV1Api(self._client).patch_namespaced_pod
            return self._ask(write, pod, self._namespace, body, **_SIGNED, **_MERGE)
        return None

    def _details(self, pod: str) -> PodDetails:
        if pod not in self._pods:
            raise TargetWriteError(f"{self._namespace}/{self._name}: no pod {pod[:99]!r} was read")
        return self._pods[pod]

    def _ask(self, method: Callable[..., object], *args: object, **options: object) -> Object:
        answer = self._call(HTTPResponse, method, *args, _preload_content=False, **options)
        return decode(answer.data)

    def _writing(self, what: str) -> AbstractContextManager[None]:
        return self._translating(f"cannot {what}", TargetWriteError)


@contextmanager
def _passing_over_the_gone() -> Iterator[None]:
    try:
        yield
    except ApiException as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
