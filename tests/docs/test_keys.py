"""What the documents call a key of the configuration is one."""

import re

import pytest
import yaml

from autoscaler.settings import Settings, load
from tests.docs.pages import ROOT, page, pages

SCHEMA = Settings.model_json_schema()
_DOTTED = re.compile(r"[a-z_]+(?:\[\d*\])?(?:\.[a-z_]+(?:\[\d*\])?)+")
_PAIR = re.compile(r"([a-z]+(?:_[a-z]+)+|mode|interval): [\w.\"{]+.*")
_VARIABLE = re.compile(r"AUTOSCALER_([A-Z_]+)")
_FILES = {
    "py",
    "md",
    "yaml",
    "yml",
    "txt",
    "sh",
    "cfg",
    "json",
    "jsonl",
    "html",
    "local",
    "go",
    "svg",
}
"""What looks like a key and is the name of a file."""


def resolved(schema):
    """Return what a reference, or a choice with nothing, stands for."""
    for choice in schema.get("anyOf", []):
        schema = choice if choice.get("type") != "null" else schema
    if "$ref" in schema:
        return resolved(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
    return resolved(schema["items"]) if schema.get("type") == "array" else schema


def fields(schema=None):
    """Return a section's keys, with what each holds."""
    return resolved(schema or SCHEMA).get("properties", {})


def every_key(schema=None):
    """Yield each key of every section."""
    for name, inner in fields(schema).items():
        yield name
        yield from every_key(inner) if fields(inner) else ()


KEYS = frozenset(every_key())
SECTIONS = {name: fields(inner) for name, inner in fields().items() if fields(inner)}
SECTIONS |= {name: fields(inner) for name, inner in SECTIONS["targets"].items() if fields(inner)}


def unknown(code):
    """Return what is wrong with a word in backticks that looks like a key; nothing if it is one."""
    if _DOTTED.fullmatch(code) and code.rpartition(".")[2] not in _FILES:
        parts = re.sub(r"\[\d*\]", "", code).split(".")
        known = SECTIONS.get(parts[0])
        for part in parts[1:] if known is not None else []:
            if part != "" and part not in known:
                return f"{code}: no such key"
            known = fields(known[part])
    pair = _PAIR.fullmatch(code)
    if pair and pair[1] not in KEYS:
        return f"{code}: no such key"
    return ""


@pytest.mark.parametrize("name", [page.name for page in pages()])
def test_keys_are_there(name):
    """`section.key` under a section that there is, `some_key: value` under any."""
    codes = [] if name == "tests/scenarios/README.md" else page(name).codes
    assert [told for code in codes if (told := unknown(code))] == []


@pytest.mark.parametrize("name", [page.name for page in pages()])
def test_variables_are_there(name):
    """AUTOSCALER_SECTION__KEY names a key outside of the targets."""
    for path in _VARIABLE.findall(page(name).path.read_text()):
        known = fields()
        for part in filter(None, path.lower().split("__")):
            assert part in known, path
            known = fields(known[part])


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("gateway.stats_url", ""),
        ("targets[0].scale_down.cooldown", ""),
        ("scale_up.policies", ""),
        ("gateway.url", "gateway.url: no such key"),
        ("scale_up.policies[0].size", "scale_up.policies[0].size: no such key"),
        ("restart_stuck: true", ""),
        ("restart_stucks: true", "restart_stucks: true: no such key"),
        ("min_replica: 2", "min_replica: 2: no such key"),
        ("config/autoscaler.yaml", ""),
    ],
)
def test_a_key_that_is_not_there_is_found(code, told):
    """Misspelt, or in the wrong section."""
    assert unknown(code) == told


YAML = [
    pytest.param(page, block, id=f"{page.name}:{block.line}")
    for page in pages()
    for block in page.blocks
    if block.language in {"yaml", "yml"} and page.name != "tests/scenarios/README.md"
]


@pytest.mark.parametrize(("page", "block"), YAML)
def test_yaml_is_configuration_that_loads_or_says_what_else_it_is(page, block, tmp_path):
    """Keys of the file or of a target, over the shipped ones; else what a kustomization has."""
    given = yaml.safe_load(block.text)
    if given.keys() <= {"components", "resources", "patches"}:
        folder = ROOT / "deploy" / "overlays" / "minikube"
        named = [*given.get("components", []), *given.get("resources", [])]
        assert [
            path for path in named if not (folder / path / "kustomization.yaml").is_file()
        ] == []
        return
    whole = yaml.safe_load((ROOT / "config" / "autoscaler.yaml").read_text())
    (target,) = whole["targets"]
    if given.keys() <= SECTIONS["targets"].keys():
        given = {"targets": [given]}
    whole |= given | {"targets": [target | one for one in given.get("targets", [{}])]}
    path = tmp_path / "autoscaler.yaml"
    path.write_text(yaml.safe_dump(whole))
    load(path, {})
