"""Label and field selectors, as lists and watches take them."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from autoscaler.sandbox.kube.status import bad_request

Matcher = Callable[[Mapping[str, Any]], bool]
Rule = Callable[[Mapping[str, str]], bool]

_TERM = re.compile(
    r"\s*(?:(?P<not>!)\s*(?P<absent>[\w./-]+)"
    r"|(?P<key>[\w./-]+)\s*(?:"
    r"(?P<op>==|=|!=)\s*(?P<value>[\w.-]*)"
    r"|\s(?P<set>in|notin)\s*\((?P<values>[^)]*)\))?)\s*(?:,|$)"
)


def matcher(labels: str, fields: str) -> Matcher:
    """Build one test for both selectors; an empty one matches all. Raises ApiError (400)."""
    rules = _label_rules(labels)
    wanted = _field_rules(fields)

    def matches(obj: Mapping[str, Any]) -> bool:
        own = obj.get("metadata", {}).get("labels") or {}
        return all(rule(own) for rule in rules) and all(rule(obj) for rule in wanted)

    return matches


def _label_rules(text: str) -> list[Rule]:
    rules, position = [], 0
    while position < len(text):
        term = _TERM.match(text, position)
        if term is None:
            raise bad_request(f"unable to parse requirement: {text!r}")
        rules.append(_label_rule(term))
        position = term.end()
    return rules


def _label_rule(term: re.Match[str]) -> Rule:
    key, op, value = term["key"], term["op"], term["value"]
    if term["not"]:
        return lambda labels: term["absent"] not in labels
    if op == "!=":
        return lambda labels: labels.get(key) != value
    if op:
        return lambda labels: labels.get(key) == value
    if term["set"]:
        values = {part.strip() for part in term["values"].split(",")}
        within = term["set"] == "in"
        return lambda labels: (labels.get(key) in values) is within
    return lambda labels: key in labels


def _field_rules(text: str) -> list[Matcher]:
    return [_field_rule(term) for term in text.split(",") if term]


def _field_rule(term: str) -> Matcher:
    path, op, value = re.split(r"(!=|==|=)", term, maxsplit=1) if "=" in term else (term, "", "")
    if not op:
        raise bad_request(f"invalid field selector: {term!r}")

    def matches(obj: Mapping[str, Any]) -> bool:
        found: Any = obj
        for part in path.split("."):
            found = found.get(part, {}) if isinstance(found, Mapping) else {}
        return (str(found or "") == value) is (op != "!=")

    return matches
