"""Finds a space of the user's own: `path/to/file.py`, `path/to/file.py:NAME`, `package.module:NAME`, or a YAML file.

Files are only parsed here; neither the user's code nor torch is imported. `spaces/imported.py` imports the module.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spaces.declared import Declaration, is_declared, read_declaration
from trainables.data.names import did_you_mean

SHIPPED = Path(__file__).resolve().parent.parent / "own_code"
"""The folder of the user's own code on a node of a cluster, next to this package."""
PACKAGES = ("rungwise", "search", "spaces", "trainables", "analysis")
"""Our packages."""
MAX_FILES, MAX_BYTES = 200, 2_000_000
"""Limits of the code that is followed and stored: number of files, total size."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The module that defines a space, and the name it has there."""

    root: Path
    """The folder that must be on `sys.path` to import the module."""
    module: str
    """`my_search`, or `package.module`."""
    attribute: str = "SPACE"
    is_file: bool = True
    """Whether the reference names the file, not the module."""
    ending: str = ".py"
    """Of the file; any other than .py is a file that declares the space."""

    @property
    def file(self) -> Path:
        """The file of the module, or the file that declares the space."""
        if self.is_declared:
            return self.root / f"{self.module}{self.ending}"
        base = self.root.joinpath(*self.module.split("."))
        return base.with_suffix(".py") if not (base / "__init__.py").is_file() else base / "__init__.py"

    @property
    def home(self) -> Path:
        """The folder of the user's code: that of the file, or of the package."""
        return self.root if self.is_file else self.root / self.module.split(".")[0]

    @property
    def text(self) -> str:
        """A reference that works from any working directory; `locate` reads it."""
        if self.is_declared:
            return str(self.file)
        where = str(self.file) if self.is_file else f"{self.root}//{self.module}"
        return f"{where}:{self.attribute}"

    @property
    def name(self) -> str:
        """The short name of the space: that of its module."""
        return self.module if self.is_declared else self.module.rpartition(".")[2]

    @property
    def is_declared(self) -> bool:
        """Whether a YAML or JSON file declares the space."""
        return self.ending != ".py"


def is_own(reference: str) -> bool:
    """Whether this names a space of the user's own; names of built-in spaces have neither dots nor slashes."""
    return any(sign in reference for sign in "./:\\") or reference.startswith("~")


def short_name(reference: str) -> str:
    """The short name of a space: `my_search` for `/home/me/my_search.py:SPACE`; a built-in name as it is."""
    if not is_own(reference):
        return reference
    if is_declared(reference):
        return Path(reference).stem
    path = reference.rpartition(":")[0] if _attribute(reference) else reference
    return Path(path).stem if path.endswith(".py") else path.rpartition("//")[2].rpartition(".")[2]


def locate(reference: str) -> Origin:
    """The origin that a reference names.

    Raises:
        ValueError: there is no such file or module; the line says where it was searched.
    """
    if is_declared(reference):
        return _declared(reference)
    attribute = _attribute(reference)
    where = reference.removesuffix(f":{attribute}") if attribute else reference
    attribute = attribute or "SPACE"
    if not attribute.isidentifier():
        raise ValueError(f"--space must end with the name of a space, such as :SPACE, got {reference[:200]!r}")
    if where.endswith(".py"):
        return _file(where, attribute, reference)
    if "//" in where:
        root, _, module = where.rpartition("//")
        return _module([SHIPPED if SHIPPED.is_dir() else Path(root)], module, attribute, reference)
    if "/" in where:
        raise ValueError(
            f"unknown space {reference[:80]!r}; give the name of a built-in space, a file that ends in .py, or "
            f"package.module:NAME"
        )
    return _module([Path.cwd(), *map(Path, filter(None, sys.path))], where, attribute, reference)


def _attribute(reference: str) -> str:
    head, colon, tail = reference.rpartition(":")
    return tail if colon and head and "/" not in tail and not tail.endswith(".py") else ""


def _file(where: str, attribute: str, reference: str) -> Origin:
    path = Path(where).expanduser()
    if SHIPPED.is_dir():
        path = SHIPPED / path.name
    if not path.is_file():
        raise ValueError(f"--space: there is no file {where[:200]!r}; give the path of your .py file")
    if not path.stem.isidentifier():
        raise ValueError(f"--space must name a file that Python can import, got {path.name!r}; rename it, without '-'")
    return Origin(root=path.resolve().parent, module=path.stem, attribute=attribute)


def _declared(reference: str) -> Origin:
    path = Path(reference).expanduser()
    if SHIPPED.is_dir():
        path = SHIPPED / path.name
    if not path.is_file():
        raise ValueError(f"--space: there is no file {reference[:200]!r}; give the path of your file")
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", path.stem):
        raise ValueError(f"--space must name a file of letters, digits, '_', '-' and '.', got {path.name!r}; rename it")
    return Origin(root=path.resolve().parent, module=path.stem, ending=path.suffix)


def functions_of(origin: Origin, declared: Declaration) -> dict[str, Origin]:
    """Where the functions are that a file which declares a space names, each by its name in a `Space`.

    Raises:
        ValueError: there is no such file or function; the line has the place where it is named.
    """
    found = {}
    for name, reference in declared.functions.items():
        file, _, attribute = reference.rpartition(":")
        parts = Path(file).with_suffix("").parts
        where = declared.settings.at(name)
        if not (origin.root / file).is_file():
            raise ValueError(f"{where}: there is no file {str(origin.root / file)!r}")
        if not all(part.isidentifier() for part in parts):
            raise ValueError(f"{where}: {file!r} cannot be imported by Python; rename it, without '-'")
        if len(parts) > 1 and (parts[0] in sys.stdlib_module_names or parts[0] in PACKAGES):
            raise ValueError(f"{where}: a package is called {parts[0]!r} too; rename the folder, such as my_{parts[0]}")
        module = Origin(root=origin.root, module=".".join(parts), attribute=attribute, is_file=len(parts) == 1)
        names = set(_defined(parsed(module.file)))
        if attribute not in names and "*" not in names:
            raise ValueError(f"{where}: {file} defines no {attribute}{did_you_mean(attribute, names)}")
        found[name] = module
    return found


def _module(roots: list[Path], module: str, attribute: str, reference: str) -> Origin:
    if not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(
            f"--space must be the name of a built-in space, a file, or package.module:NAME, got {reference[:200]!r}"
        )
    for root in dict.fromkeys(root.resolve() for root in roots):
        found = Origin(root=root, module=module, attribute=attribute, is_file=False)
        if found.file.is_file():
            return found
    raise ValueError(
        f"--space {reference[:200]!r} names no module: {module.replace('.', '/')}.py is neither in {str(Path.cwd())!r}"
        " nor installed; give the path of the file instead"
    )


def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file.

    Raises:
        ValueError: it is not valid Python; the line has the place.
    """
    try:
        return ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ValueError(f"{path}{line} is not valid Python: {reason}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


def check(origin: Origin) -> None:
    """Raise ValueError unless the file is valid Python, defines the space, and its imports do not clash with ours."""
    if origin.is_declared:
        for found in functions_of(origin, read_declaration(origin.file)).values():
            check_clashes(found)
        return
    tree = parsed(origin.file)
    names = set(_defined(tree))
    if origin.attribute not in names and "*" not in names:
        likely = [name for name in _assigned_spaces(tree) if name != origin.attribute]
        hint = f"; it defines {', '.join(likely)}: add :{likely[0]}" if likely else "; write SPACE = rw.Space(...)"
        raise ValueError(f"{origin.file} defines no {origin.attribute}{hint}")
    check_clashes(origin)


def check_clashes(origin: Origin) -> None:
    """Raise ValueError if the user's code imports a module of its own that has the name of one of our packages."""
    mine = {name for name in PACKAGES if _exists(origin.root, name)}
    mine -= {name for name in PACKAGES if (origin.root / name).resolve() == SHIPPED.parent / name}
    for path in local_files(origin) if mine else ():
        for name in _imported(parsed(path), package=""):
            if (top := name.split(".")[0]) in mine:
                raise ValueError(
                    f"{path.name} imports {top!r}, which is a module in {str(origin.root)!r} and also a package of"
                    f" rungwise; rename your module, for example to my_{top}"
                )


def local_files(origin: Origin) -> list[Path]:
    """The file of the space and every module in its folder that it imports, directly or indirectly."""
    found: dict[Path, None] = {}
    waiting = [(origin.file, origin.module.rpartition(".")[0])]
    if origin.is_declared:
        found[origin.file] = None
        named = functions_of(origin, read_declaration(origin.file)).values()
        waiting = [found for one in named for found in _resolved(origin.root, one.module)]
    while waiting and len(found) < MAX_FILES:
        path, package = waiting.pop(0)
        if path in found or not path.is_file():
            continue
        found[path] = None
        try:
            names = list(_imported(parsed(path), package=package))
        except ValueError:
            continue  # an error in a module is reported when it is imported
        for name in names:
            waiting += _resolved(origin.root, name)
    return list(found)


def _resolved(root: Path, name: str) -> Iterator[tuple[Path, str]]:
    """The files in this folder that may be read when this name is imported, each with its package."""
    parts = name.split(".")
    if parts[0] in PACKAGES:
        return
    for length in range(1, len(parts) + 1):
        base = root.joinpath(*parts[:length])
        yield base / "__init__.py", ".".join(parts[:length])
        yield base.with_name(f"{base.name}.py"), ".".join(parts[: length - 1])


def _imported(tree: ast.Module, *, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                base = ".".join(filter(None, [*above, node.module]))
                yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)


def _exists(root: Path, name: str) -> bool:
    folder = root / name
    return folder.with_suffix(".py").is_file() or (folder.is_dir() and any(folder.glob("*.py")))


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Assign():
                yield from (
                    name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)
                )
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.NamedExpr(target=ast.Name(id=name)):
                yield name
            case ast.Import() | ast.ImportFrom():
                yield from (alias.asname or alias.name for alias in node.names)


def _assigned_spaces(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=called)):
                if ast.unparse(called).rpartition(".")[2] in ("Space", "replace"):
                    yield name
