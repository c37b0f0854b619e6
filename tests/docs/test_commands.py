"""Every command in the documents could be typed: it is run where that is cheap, else looked at.

`make demo` and `make test` are not run here: the one is what `tests/sandbox/test_run.py` does, the
other is what runs this.
"""

import json
import os
import re
import subprocess
import sys

import pytest

from autoscaler import cli
from tests.docs.checks import no_path, wrong
from tests.docs.pages import ROOT, page, pages
from tests.docs.program import application
from tests.docs.shells import SHELLS, commands

RUNNABLE, OUTPUT = "runnable", "output of the block above"
_LONGEST_SECONDS = 60
BLOCKS = [
    pytest.param(page, block, id=f"{page.name}:{block.line}")
    for page in pages()
    for block in page.blocks
    if block.language in SHELLS
]
RUN = [case for case in BLOCKS if case.values[1].mark == RUNNABLE]


@pytest.mark.parametrize(("page", "block"), BLOCKS)
def test_every_command_could_be_typed(page, block):
    """Targets, commands, options, scripts, folders and objects are there under these names."""
    assert [told for words in commands(block.text) for told in wrong(words)] == []


@pytest.mark.parametrize("name", [page.name for page in pages()])
def test_commands_and_paths_within_a_text_are_there(name):
    """The same for what stands in backticks: a command of make or of ours, and every path."""
    found = []
    for code in page(name).codes:
        if re.match(r"(make [a-z]|autoscaler [a-z]|kubectl [a-z-])", code):
            plain = re.sub(r"\[([^\[\]]*)\]", r"\1", code)  # [--option]
            found += [told for words in commands(plain) for told in wrong(words)]
        elif " " not in code:
            found += [told] if (told := no_path(code)) else []
    assert found == []


@pytest.mark.parametrize(("page", "block"), RUN)
def test_what_is_marked_as_runnable_runs(page, block):
    """It ends well, from the top of the repository, and says what the page says that it says."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", _here(block.text)],
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=_LONGEST_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    after = page.blocks[page.blocks.index(block) + 1 :]
    if after and after[0].mark == OUTPUT:
        _compare(after[0], done.stdout)


def _compare(block, printed):
    """Demand that each line was printed; of JSON, that each key of an object was, in any line."""
    if block.language == "json":
        printed = [json.loads(line) for line in printed.splitlines()]
        told = json.loads("{" + block.text + "}")
        assert any(all(line.get(key) == value for key, value in told.items()) for line in printed)
        return
    lines = [line.rstrip() for line in printed.splitlines()]
    assert [line for line in block.text.splitlines() if line.rstrip() not in lines] == []


def _here(text):
    """Run this tree's program with this interpreter, however the environment is called."""
    return text.replace(".venv/bin/autoscaler", f"'{sys.executable}' -m autoscaler")


def _environment():
    ours = {key: value for key, value in os.environ.items() if not key.startswith("AUTOSCALER_")}
    return ours | {"PYTHONPATH": str(ROOT)}


def test_an_output_belongs_to_a_block_that_runs():
    """Nobody would notice that it has become another one."""
    for each in pages():
        for before, block in zip([None, *each.blocks], each.blocks, strict=False):
            if block.mark == OUTPUT:
                assert before is not None, each.name
                assert before.mark == RUNNABLE, each.name
    assert RUN


@pytest.mark.parametrize("name", sorted(application().commands))
def test_every_command_helps(name, capsys):
    """`--help` says what it does and what its options are."""
    assert cli.run([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"autoscaler {name}" in said
    assert "--help" in said


def test_the_readme_has_every_command():
    """One row for each, and none for what is not there."""
    told = [code.split()[1] for code in page("README.md").codes if code.startswith("autoscaler ")]
    assert {name for name in told if not name.startswith("-")} == set(application().commands)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("make demo FAULT=replica-crash", []),
        ("make dmeo", ["make dmeo: no such target"]),
        ("make demo FAULTS=x", ["make FAULTS=: no such variable"]),
        ("autoscaler check --offline --config F", []),
        (".venv/bin/autoscaler chekc", ["autoscaler chekc: no such command"]),
        ("autoscaler run --dryrun", ["autoscaler run --dryrun: no such option"]),
        ("autoscaler run now", ["autoscaler run: too many words"]),
        ("autoscaler decide --config F <<'END'\nmake nothing\nEND", []),
        ("kubectl apply -k deploy/overlays/minikube", []),
        (
            "kubectl apply -k deploy/overlays",
            ["kubectl -k deploy/overlays: no kustomization there"],
        ),
        ("kubectl -n llm logs deploy/autoscalr", ["Deployment autoscalr: not in the manifests"]),
        (
            "kubectl -n llm get pods -l app.kubernetes.io/name=olama",
            ["label olama: not in the manifests"],
        ),
        (
            "kubectl -n llm exec deploy/autoscaler -- autoscaler cheque",
            ["autoscaler cheque: no such command"],
        ),
        ("kubectl aply -f x", ["kubectl aply: not known here"]),
        ("python3 scripts/load.py URL --people 6 | tee x", []),
        ("python3 scripts/load.py URL --folk 6", ["scripts/load.py --folk: not in it"]),
        ("cd deploy/nowhere && make test", ["deploy/nowhere: no such path"]),
        ("nonsense", ["nonsense: nothing here knows that program"]),
    ],
)
def test_a_command_that_cannot_be_typed_is_found(text, told):
    """Each kind of mistake, and that what is right passes."""
    assert [each for words in commands(text) for each in wrong(words)] == told
