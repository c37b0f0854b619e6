"""Everything under deploy/ builds, is what Kubernetes takes, and holds together."""

import json
import re
import subprocess
from functools import cache

import kubernetes_validate
import pytest
import yaml

from tests.stack import builds, checks, published

ROOT = builds.ROOT
VERSIONS = ("1.30", "1.37")
"""The oldest and the newest Kubernetes that the stack is for."""

every_whole = pytest.mark.parametrize("whole", builds.wholes())


# --- building -----------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", builds.folders())
def test_every_folder_builds(folder):
    """A plain `kustomize build` of it succeeds without a warning, as `kubectl apply -k` would."""
    assert builds.built(folder)


def test_every_component_is_combined():
    """No component is left out of the combinations that the other tests build."""
    combined = {name for one in builds.COMBINATIONS.values() for name in one.components}
    there = {path.removeprefix("deploy/components/") for path in builds.folders("Component")}
    assert there == combined


@pytest.mark.parametrize("overlay", builds.overlays())
def test_what_an_overlay_offers_in_a_comment_exists(overlay):
    """Who takes out the `#` before a component gets one."""
    text = (ROOT / overlay / "kustomization.yaml").read_text()
    offered = set(re.findall(r"#\s*- \.\./\.\./(components/\S+)", text))
    assert {
        path for path in offered if f"deploy/{path}" not in builds.folders("Component")
    } == set()


@every_whole
@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
def test_it_holds_together(whole, check):
    """Names, selectors, references and confinement agree with one another."""
    assert list(check(builds.built(whole))) == []


# --- what Kubernetes takes ----------------------------------------------------------------------


@cache
def schema_error(text: str, version: str) -> str | None:
    """Validate one object strictly, given as JSON: the same one is in many builds."""
    try:
        kubernetes_validate.validate(json.loads(text), version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    return None


@every_whole
def test_every_object_can_be_applied(whole):
    """`kubectl apply` keeps a copy of an object in its annotation, which has an end at 256 KiB."""
    sizes = {builds.name_of(obj): len(json.dumps(obj)) for obj in builds.built(whole)}
    assert {name: size for name, size in sizes.items() if size > 256 * 1024} == {}


@every_whole
@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_one_that_kubernetes_knows(whole, version):
    """No field is unknown, missing or of another type, in the oldest and the newest version."""
    errors = {
        builds.name_of(obj): schema_error(json.dumps(obj, sort_keys=True), version)
        for obj in builds.built(whole)
        if not published.is_custom(obj)
    }
    assert {name: error for name, error in errors.items() if error} == {}


def test_the_schemas_are_those_of_the_versions():
    """Asked for a version that it lacks, the validator would quietly take an older one.

    The oldest is the one that a person is told to have.
    """
    known = {
        kubernetes_validate.utils.major_minor(v) for v in kubernetes_validate.utils.all_versions()
    }
    assert set(VERSIONS) <= known
    assert f"Kubernetes {VERSIONS[0]} or newer" in (ROOT / "deploy" / "README.md").read_text()


def test_every_custom_resource_is_one_that_its_project_knows(tmp_path):
    """Monitors, rules and routes fit the published types: every field, and every value."""
    texts = {
        json.dumps(obj, sort_keys=True)
        for whole in builds.wholes()
        for obj in builds.built(whole)
        if published.is_custom(obj)
    }
    custom = [json.loads(text) for text in sorted(texts)]
    assert {published.group_of(obj) for obj in custom} == set(published.PACKAGES)
    assert published.findings(custom, tmp_path) == []


# --- kube-score ---------------------------------------------------------------------------------


def scores(whole: str, *options: str) -> set[tuple[str, str]]:
    """Return what kube-score would rather see changed: object and check, by their names."""
    optional = ("container-seccomp-profile", "container-ports-check")
    command = [
        *(builds.tool("kube-score"), "score", "-", "--output-format", "json"),
        *("--kubernetes-version", f"v{VERSIONS[0]}", *options),
        *(word for check in optional for word in ("--enable-optional-test", check)),
    ]
    done = subprocess.run(
        command, input=builds.build(whole), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert found
    return {
        (f"{scored['type_meta']['kind']}/{scored['object_meta']['name']}", result["check"]["id"])
        for scored in found
        for result in scored["checks"]
        if not result["skipped"] and result["grade"] < 10
    }


@every_whole
def test_kube_score_has_nothing_to_say(whole):
    """Neither critical nor a warning, but for what an object says that it ignores."""
    assert scores(whole) == set()


@every_whole
def test_no_check_is_ignored_without_need(whole):
    """What `kube-score/ignore` names would be reported: nothing is kept quiet in advance."""
    ignored = {
        (builds.name_of(obj), check)
        for obj in builds.built(whole)
        for check in obj["metadata"].get("annotations", {}).get("kube-score/ignore", "").split(",")
        if check
    }
    assert ignored - scores(whole, "--disable-ignore-checks-annotations") == set()


def test_every_ignored_check_has_its_reason():
    """A comment stands right above each annotation."""
    bare = [
        f"{path.relative_to(ROOT)}:{number + 1}"
        for path in sorted((ROOT / "deploy").rglob("*.yaml"))
        for lines in [path.read_text().splitlines()]
        for number, line in enumerate(lines)
        if "kube-score/ignore:" in line and not lines[number - 1].lstrip().startswith("#")
    ]
    assert bare == []


# --- images -------------------------------------------------------------------------------------


def pinned() -> dict[str, list[str]]:
    """Return each image of a kustomization with the files that give it a tag or digest."""
    files: dict[str, list[str]] = {}
    for path in sorted((ROOT / "deploy").rglob("kustomization.yaml")):
        for image in yaml.safe_load(path.read_text()).get("images", ()):
            if {"newTag", "digest"} & set(image):
                files.setdefault(image["name"], []).append(str(path.relative_to(ROOT)))
    return files


def test_every_image_is_pinned_in_one_file():
    """Whoever wants a newer one changes one line."""
    assert {name: files for name, files in pinned().items() if len(files) != 1} == {}


@every_whole
def test_no_tag_stands_in_two_files(whole):
    """A tag in a manifest, a script or a document would be forgotten at the next change."""
    tags = {
        container["image"].rpartition(":")[2]
        for pods in builds.templates(builds.built(whole))
        for container in pods.containers
    }
    texts = {path: path.read_text() for path in (ROOT / "deploy").rglob("*") if path.is_file()}
    written = {
        tag: [path for path, text in texts.items() if re.search(rf"\b{re.escape(tag)}\b", text)]
        for tag in tags
        if "." in tag
    }
    assert {tag: found for tag, found in written.items() if len(found) != 1} == {}
