"""Reads a PromQL query: is it one we can use, and which samples does it read? Nothing is sent."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

import promql_parser as parser

_POD = "pod"
_MAX_LENGTH = 4_000
_MAX_DEPTH = 100
_STRING_OR_COMMENT = re.compile(
    r"""`[^`]*` | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | \#[^\n]*""", re.VERBOSE
)

# The parser knows Prometheus 3; before that, this function had another name.
_HOLT_WINTERS = parser.Function(
    "holt_winters",
    [parser.ValueType.Matrix, parser.ValueType.Scalar, parser.ValueType.Scalar],
    parser.ValueType.Vector,
)
parser.clear_extra_functions()
parser.register_extra_functions([_HOLT_WINTERS])


class QueryError(ValueError):
    """A query that cannot be used; the message is one line that says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in time a selector or a subquery reads."""

    range: timedelta | None = None
    """None: one instant."""
    step: timedelta | None = None
    """Of a subquery; None: the server's own."""
    offset: timedelta = timedelta(0)
    at: float | str | None = None
    """Seconds since 1970, "start" or "end"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """One selector with everything around it that decides which samples it reads."""

    matchers: tuple[str, ...]
    """As PromQL, the name among them."""
    named: bool
    """There is an exact metric name."""
    place: Place
    outer: tuple[Place, ...] = ()
    """The subqueries around it, innermost first."""
    by_pod: bool = False
    """The label `pod` of its series is the label `pod` of the result's."""
    function: str = field(default="", compare=False, repr=False)
    """What is made of its range, such as `rate`."""

    @property
    def name(self) -> str:
        """Return the metric's exact name; empty where it has none."""
        return self.exactly("__name__") or ""

    def exactly(self, label: str) -> str | None:
        """Return the one value that a label must have; None where it may have others."""
        start = f'{label}="'
        found = (each for each in self.matchers if each.startswith(start))
        return next((each.removeprefix(start).removesuffix('"') for each in found), None)

    @property
    def plain(self) -> str:
        """Return the series alone, as PromQL, wherever and whenever the query reads them."""
        return "{" + ",".join(self.matchers) + "}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedQuery:
    """What must be known of a query to send it."""

    is_scalar: bool
    """True: a scalar, False: an instant vector."""
    selectors: tuple[Selector, ...]


def check_query(query: str) -> str | None:
    """Return what is wrong with a query, in one line, or None."""
    try:
        parse_query(query)
    except QueryError as error:
        return str(error)
    return None


def parse_query(query: str) -> ParsedQuery:
    """Read a query. Raises QueryError with one line that says what is wrong."""
    _refuse_unsafe(query)
    try:
        expression = parser.parse(_STRING_OR_COMMENT.sub(_quote_raw, query))
        kind = _kind(expression)
        selectors = tuple(dict.fromkeys(_selectors(expression, (), by_pod=True)))
    except RecursionError:
        raise QueryError("the query is nested too deeply") from None
    except (ValueError, OverflowError) as error:
        raise QueryError(" ".join(str(error).split())) from None
    except BaseException as error:
        # The parser is compiled code: what its authors did not foresee is no Exception.
        if type(error).__name__ != "PanicException":
            raise
        raise QueryError("the query cannot be parsed") from None
    if kind not in {"Vector", "Scalar"}:
        what = "a range of samples" if kind == "Matrix" else "a string"
        raise QueryError(f"the query gives {what}, must give an instant vector or a scalar")
    return ParsedQuery(is_scalar=kind == "Scalar", selectors=selectors)


def matcher(name: str, operator: str, value: str) -> str:
    """Write one label matcher."""
    plain = re.fullmatch(r"[a-zA-Z_]\w*", name, re.ASCII)
    return f"{name if plain else _quote(name)}{operator}{_quote(value)}"


def _refuse_unsafe(query: str) -> None:
    """Refuse what makes the compiled parser abort the process instead of raising."""
    code = _STRING_OR_COMMENT.sub('""', query)
    if len(code) > _MAX_LENGTH:
        raise QueryError(
            f"the query has {len(code)} characters outside strings, must have {_MAX_LENGTH} or less"
        )
    depth = deepest = 0
    for character in code:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    if deepest > _MAX_DEPTH:
        raise QueryError(f"the query nests {deepest} parentheses, must nest at most {_MAX_DEPTH}")
    if re.search(r"@\s*-", code):
        raise QueryError("the query has a negative time after @, must be 0 or above")


def _quote_raw(token: re.Match[str]) -> str:
    """Turn a raw string into a quoted one: the parser takes its backslashes for escapes."""
    text = token.group()
    return _quote(text[1:-1]) if text.startswith("`") else text


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _name(value: object) -> str:
    """Return the name of a parser's enum value; these cannot be hashed."""
    return str(value).rpartition(".")[2]


def _kind(node: parser.Expr) -> str:
    match node:
        case parser.NumberLiteral():
            kind = "Scalar"
        case parser.StringLiteral():
            kind = "String"
        case parser.MatrixSelector() | parser.SubqueryExpr():
            kind = "Matrix"
        case parser.Call():
            kind = _name(node.func.return_type)
        case parser.ParenExpr() | parser.UnaryExpr():
            kind = _kind(node.expr)
        case parser.BinaryExpr():
            kind = "Vector" if "Vector" in {_kind(node.lhs), _kind(node.rhs)} else "Scalar"
        case _:
            kind = "Vector"
    return kind


# --- finding the selectors --------------------------------------------------------------------


def _selectors(
    node: parser.Expr, outer: tuple[Place, ...], *, by_pod: bool, function: str = ""
) -> Iterator[Selector]:
    if isinstance(node, parser.VectorSelector):
        yield _selector(node, _place(node), outer, by_pod=by_pod)
        return
    if isinstance(node, parser.MatrixSelector):
        inner = node.vector_selector
        found = _selector(inner, _place(inner, node.range), outer, by_pod=by_pod)
        yield replace(found, function=function)
        return
    if isinstance(node, parser.SubqueryExpr):
        outer = (_place(node, node.range, node.step), *outer)
    function = str(node.func.name) if isinstance(node, parser.Call) else ""
    for part, keeps_pod in _parts(node):
        yield from _selectors(part, outer, by_pod=by_pod and keeps_pod, function=function)


def _parts(node: parser.Expr) -> list[tuple[parser.Expr, bool]]:
    """Return what an expression is made of, and whether the label `pod` gets through."""
    match node:
        case parser.NumberLiteral() | parser.StringLiteral():
            return []
        case parser.ParenExpr() | parser.UnaryExpr() | parser.SubqueryExpr():
            return [(node.expr, True)]
        case parser.AggregateExpr():
            parameter = [] if node.param is None else [(node.param, False)]
            return [(node.expr, _groups_by_pod(node)), *parameter]
        case parser.BinaryExpr():
            return list(zip((node.lhs, node.rhs), _sides_by_pod(node), strict=True))
        case parser.Call():
            # The second argument of info() only looks like a selector.
            arguments = node.args[:1] if node.func.name == "info" else node.args
            return [(argument, _keeps_pod(node)) for argument in arguments]
    raise QueryError(f"the query has a part of an unknown kind: {type(node).__name__}")


def _selector(
    node: parser.VectorSelector, place: Place, outer: tuple[Place, ...], *, by_pod: bool
) -> Selector:
    if node.matchers.or_matchers:
        raise QueryError("a selector has `or` between matchers, must join them by a comma")
    operators = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
    parts = [(each.name, operators[_name(each.op)], each.value) for each in node.matchers.matchers]
    if node.name:
        parts.insert(0, ("__name__", "=", node.name))
    return Selector(
        matchers=tuple(matcher(*part) for part in parts),
        named=any(name == "__name__" and operator == "=" for name, operator, _ in parts),
        place=place,
        outer=outer,
        by_pod=by_pod,
    )


def _place(
    node: parser.VectorSelector | parser.SubqueryExpr,
    span: timedelta | None = None,
    step: timedelta | None = None,
) -> Place:
    at: float | str | None = None
    if node.at is not None:
        at = node.at.at.timestamp() if node.at.at else _name(node.at.type).lower()
    return Place(range=span, step=step, offset=node.offset or timedelta(0), at=at)


# --- does the label `pod` reach the result unchanged? Where in doubt: no ----------------------


def _groups_by_pod(node: parser.AggregateExpr) -> bool:
    overwritten = isinstance(node.param, parser.StringLiteral) and node.param.val == _POD
    if node.modifier is None or overwritten:
        return False
    return (_POD in node.modifier.labels) == (_name(node.modifier.type) == "By")


def _keeps_pod(node: parser.Call) -> bool:
    name = str(node.func.name)
    if name in {"label_replace", "label_join"}:
        written = node.args[1]
        return isinstance(written, parser.StringLiteral) and written.val != _POD
    return name not in {"absent", "absent_over_time", "scalar", "vector"}


def _sides_by_pod(node: parser.BinaryExpr) -> tuple[bool, bool]:
    modifier, operator = node.modifier, str(node.op)
    if modifier is None:
        return True, True
    if _POD in (modifier.group_labels or ()):
        return False, False
    matching = modifier.matching
    if operator == "or" or matching is None:
        return True, True
    if (_POD in matching.labels) == (_name(matching.type) == "Include"):
        return True, True
    # Matched without `pod`: only the side whose series pass as they are keeps it.
    left = operator in {"and", "unless"} or _name(modifier.card) == "ManyToOne"
    return left, _name(modifier.card) == "OneToMany"
