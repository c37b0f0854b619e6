"""The page of rights lists what the Roles grant, and nothing else."""

import re

import yaml

from tests.docs.pages import ROOT

ROLES = ("deploy/autoscaler/role.yaml", "deploy/autoscaler/rights/role.yaml")
OPTIONAL = "deploy/components/restart-stuck/kustomization.yaml"


def granted():
    """Return each verb and resource of the Roles, the optional one among them."""
    rules = [rule for path in ROLES for rule in yaml.safe_load((ROOT / path).read_text())["rules"]]
    for patch in yaml.safe_load((ROOT / OPTIONAL).read_text())["patches"]:
        rules += [change["value"] for change in yaml.safe_load(patch["patch"])]
    return {(verb, what) for rule in rules for what in rule["resources"] for verb in rule["verbs"]}


def told():
    """Return what the first column of the table says."""
    text = (ROOT / "docs" / "rights.md").read_text()
    cells = re.findall(r"^\| ([a-z][^|]*`[^|]*) \|", text, re.MULTILINE)
    pairs = [pair for cell in cells for pair in re.findall(r"((?:\w+, )*\w+) `([\w/]+)`", cell)]
    return {(verb, what) for verbs, what in pairs for verb in verbs.split(", ")}


def test_the_page_lists_each_right_and_no_other():
    """Whoever must grant them reads there what for."""
    assert told() == granted()
