"""A Job cannot be changed once it exists, so what changes must have another name."""

import shutil
import subprocess

import pytest
import yaml

from tests.stack import builds

CHANGES = {
    "another list": ("models.txt", "llama3.2:1b", "llama3.2:3b"),
    "another image": ("kustomization.yaml", "newTag: ", "newTag: 9."),
    "another script": ("pull.sh", "#!/bin/sh\n", "#!/bin/sh\n# more\n"),
}


@pytest.fixture
def folder(tmp_path):
    """Copy what the Job is made of."""
    return shutil.copytree(builds.ROOT / "deploy" / "ollama", tmp_path / "ollama")


def _job(folder):
    told = subprocess.run(
        [builds.TOOLS / "bin" / "kustomize", "build", folder],
        check=True,
        capture_output=True,
        text=True,
    )
    (job,) = builds.of(list(yaml.safe_load_all(told.stdout)), "Job")
    return job


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_what_the_job_does_makes_another_job(folder, change):
    """`kubectl apply` never meets a Job that it may not change."""
    name, old, new = CHANGES[change]
    before = _job(folder)
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))
    assert _job(folder)["metadata"]["name"] != before["metadata"]["name"]


def test_a_change_of_another_script_leaves_the_job_as_it_is(folder):
    """The replicas' hooks are not the Job's, so nothing is fetched anew for them."""
    before = _job(folder)
    with (folder / "drain.sh").open("a") as script:
        script.write("# more\n")
    assert _job(folder) == before
