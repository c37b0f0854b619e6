"""Custom resources against the types that their own projects publish, by way of npm.

The compiler knows every field, and refuses one that is not there; the validators that come with the
types know patterns and ranges, and let unknown fields pass. So each object meets both.
"""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.stack.builds import TOOLS, Object, tool

PACKAGES = {
    "gateway.networking.k8s.io": "@kubernetes-models/gateway-api",
    "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
}
"""Where the types of an API group are."""

_COMPILER = {
    "compilerOptions": {
        "strict": True,
        "noEmit": True,
        "skipLibCheck": True,
        "module": "nodenext",
        "types": [],
    },
    "include": ["*.ts"],
}
_VALIDATOR = """
import { readFileSync } from "node:fs";
for (const [module, object] of JSON.parse(readFileSync(0, "utf8"))) {
  const { [object.kind]: Kind } = await import(module);
  try { new Kind(object).validate(); } catch (error) { console.log(error.message); }
}
"""


def is_custom(obj: Object) -> bool:
    """Tell whether an object's kind is not Kubernetes' own."""
    return group_of(obj) in PACKAGES


def group_of(obj: Object) -> str:
    """Return the API group; empty for the core group."""
    return obj["apiVersion"].rpartition("/")[0]


def findings(objects: Sequence[Object], folder: Path) -> list[str]:
    """Compile and validate these objects in an empty folder; return what is wrong, a line each."""
    modules = [f"{PACKAGES[group_of(obj)]}/{obj['apiVersion']}/{obj['kind']}" for obj in objects]
    (folder / "node_modules").symlink_to(TOOLS / "node_modules")
    (folder / "tsconfig.json").write_text(json.dumps(_COMPILER))
    for number, (module, obj) in enumerate(zip(modules, objects, strict=True)):
        kind = obj["kind"]
        (folder / f"{kind}.{obj['metadata']['name']}.{number}.ts").write_text(
            f'import type {{ I{kind} }} from "{module}";\n'
            f"export const built: I{kind} = {json.dumps(obj, indent=2)};\n"
        )
    (folder / "validate.mjs").write_text(_VALIDATOR)
    compiler = TOOLS / "node_modules" / "typescript" / "bin" / "tsc"
    return [
        *_node(folder, compiler, "--project", "."),
        *_node(folder, "validate.mjs", given=json.dumps(list(zip(modules, objects, strict=True)))),
    ]


def _node(folder: Path, *command: str | Path, given: str = "") -> list[str]:
    done = subprocess.run(
        [tool("node"), *command],
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return [*done.stdout.splitlines(), *done.stderr.splitlines()]
