"""What can be searched: each built-in space is a file here that defines `SPACE`.

    *_arch *_small *_gpu *_mlp   the built-in spaces
    parts                        groups of hyperparameters that they share
    ranges changes               a space with other ranges than its file states
    priors                       draws configurations where good values are expected
    levels                       the parameters of a space, and values of one to compare
    space                        `Space`: suggest, baseline, and the one reader of stored parameters
    variants                     which further parameters fit data of the user's own
    asking                       runs `suggest` on chosen values
    objectives                   metrics, objectives and constraints
    declared                     a space in a YAML or JSON file
    origin sources imported      where a space of the user's own is, its code, and how it is imported

A space that has changed since a release keeps its earlier definition as `SPACE_1` in the same file; it is called
`NAME@1`, and the runs and models of that release use it. A variant with further parameters for some data is called
`NAME@WORD` in the same way.

Imports trainables; search, analysis and rungwise may import it. Does not import Ray.
"""

import ast
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from spaces.declared import read_declaration
from spaces.origin import check, is_own, locate, parsed

EARLIER = {
    ("cifar_arch", "edcce89a5253af0a"): "cifar_arch@1",
    ("cifar_small", "060fd1d43240055c"): "cifar_small@1",
    ("fashion_small", "46319f5db69c640d"): "fashion_small@1",
    ("image_folder_arch", "e54c1612ede9a0f5"): "image_folder_arch@1",
    ("housing_mlp", "bda8a4a07c6b4489"): "housing_mlp@1",
    ("tabular_mlp", "1ee746745e3e9031"): "tabular_mlp@1",
}
"""Name and fingerprint in an older run -> the definition that the run searches."""


def available() -> tuple[str, ...]:
    """The names of the spaces: the files of this package that define one."""
    files = Path(__file__).parent.glob("*.py")
    return tuple(sorted(file.stem for file in files if "\nSPACE = " in file.read_text(encoding="utf-8")))


def check_name(name: str) -> None:
    """Raise ValueError, with the nearest name, unless there is such a space; imports none of them.

    Args:
        name: name of a built-in space, or reference to one of the user's own.
    """
    if is_own(name):
        return check(locate(name))
    known = available()
    if name not in known and not is_version(name):
        beside = f"{name}.py" in (entry.name for entry in Path().glob("*.py"))
        near = [*([f"{name}.py"] if beside else []), *get_close_matches(name, known, n=1)]
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"unknown space {name[:80]!r}; available: {', '.join(known)}{hint}")


def as_begun(name: str, fingerprint: str) -> str:
    """The name of the definition that a run searches: an earlier one if the run began with it."""
    return EARLIER.get((name, fingerprint), name)


def split_name(name: str) -> tuple[str, str]:
    """The module of a built-in space in this package, and the name of the space there: `SPACE`, or `SPACE_1`."""
    module, _, version = name.partition("@")
    return module, f"SPACE_{version}" if version else "SPACE"


def is_version(name: str) -> bool:
    """Whether a space of this package has the definition that follows the @ in this name."""
    module, attribute = split_name(name)
    if "@" not in name or module not in available():
        return False
    return f"\n{attribute} = " in (Path(__file__).parent / f"{module}.py").read_text(encoding="utf-8")


def stated(name: str) -> dict[str, Any]:
    """The plain values in the file of a space (its data set, its epochs), read without importing torch.

    Values that it takes from the space of another file are read there.
    """
    facts: dict[str, Any] = {}
    origin = locate(name) if is_own(name) else None
    if origin is not None and origin.is_declared:
        return {"own": True, **read_declaration(origin.file).facts}
    module, attribute = (origin.file, origin.attribute) if origin else split_name(name)
    tree = parsed(Path(__file__).parent / f"{module}.py" if isinstance(module, str) else module)
    for line in tree.body:
        match line:
            case ast.Assign(targets=[ast.Name(id=assigned)], value=ast.Call() as call) if assigned == attribute:
                match call.args:
                    case [ast.Attribute(value=ast.Name(id=other), attr=kept)] if other in available():
                        facts |= stated(other + kept.removeprefix("SPACE").replace("_", "@"))
                    case [ast.Name(id="SPACE")] if attribute != "SPACE":
                        facts |= stated(name.partition("@")[0])
                given = {word.arg: word.value for word in call.keywords if word.arg}
                facts |= {key: value.value for key, value in given.items() if isinstance(value, ast.Constant)}
                facts |= {"own": True} if {"train", "task"} & set(given) else {}
    return facts
