"""Hub code: the model as Python files in one folder, for users who load it with `trust_remote_code` instead of this
package.

transformers copies single files from a repository's root, so the files lie flat; the compiled backends of the long
convolution stay out, and torch's FFTs serve every device.
"""

import ast
import hashlib
import json
import os
from pathlib import Path

from .configuration_hyenadna import HyenaDNAConfig

PACKAGE = Path(__file__).parent
CONFIG = "config.json"
ENTRY = PACKAGE / "modeling_hyenadna.py"
AUTO_MAP = {
    "AutoConfig": "configuration_hyenadna.HyenaDNAConfig",
    "AutoModel": "modeling_hyenadna.HyenaDNAModel",
    "AutoModelForCausalLM": "modeling_hyenadna.HyenaDNAForCausalLM",
    "AutoModelForSequenceClassification": "modeling_hyenadna.HyenaDNAForSequenceClassification",
    "AutoModelForTokenClassification": "modeling_hyenadna.HyenaDNAForTokenClassification",
}
HEADER = """\
# Part of HyenaDNA in hyenadna-dart, Apache-2.0. Written by `hyenadna export-hub-code`; the sources are in that package.

"""
# Names that torch and transformers keep for a whole process, where this code may meet the package and other versions of
# itself: operators, and the type of a block's cache. By file, what the package has and what the Hub code has instead.
GLOBAL_NAMES = {
    "operator.py": {
        '"hyenadna::long_conv"': '"hyenadna_{version}::long_conv"',
        '"hyenadna::long_conv_backward"': '"hyenadna_{version}::long_conv_backward"',
    },
    "mixer.py": {
        '"hyenadna::mixer"': '"hyenadna_{version}::mixer"',
        '"hyenadna::mixer_backward"': '"hyenadna_{version}::mixer_backward"',
    },
    "cache_hyenadna.py": {'_layer_type = "hyena"': '_layer_type = "hyena_{version}"'},
    "configuration_hyenadna.py": {'return ["hyena"] *': 'return ["hyena_{version}"] *'},
}
# Takes the place of a compiled backend: the names that are looked up in it, and no library.
STUB = '''"""A compiled backend of the long convolution, which is not part of the Hub code."""

MOST_TAPS = 0


def library() -> None:
    """None: there is no compiled library."""
'''
COMPILED = ("cpu_backend", "cuda_backend")


def export_hub_code(folder: str | os.PathLike[str]) -> list[str]:
    """Add to the model in `folder` the code to load it with where this package is not installed.

    Writes the Python files beside config.json and names them in its `auto_map`. The folder's tokenizer.json needs no
    code. With this package imported, the native classes are still the ones that load it.

    Returns:
        The names of the Python files.

    Raises:
        FileNotFoundError: if there is no config.json in `folder`.
        ValueError: if it is not that of a HyenaDNA model.
    """
    path = Path(folder) / CONFIG
    files = with_hub_code(path)
    for leftover in path.parent.glob(".writing-*"):  # of a run that was killed
        leftover.unlink()
    for name, text in files.items():
        _replace(path.parent / name, text)
    return sorted(files.keys() - {CONFIG})


def with_hub_code(path: Path) -> dict[str, str]:
    """The text of each file of the Hub code by its name, and of config.json, which names them, for the model whose
    config.json `path` is. Writes nothing; errors as of [`export_hub_code`]."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    if not isinstance(config, dict) or config.get("model_type") != HyenaDNAConfig.model_type:
        raise ValueError(f"{path}: not the config of a HyenaDNA model")
    files = hub_code()
    for name in files:
        if (path.parent / name).exists() and not (path.parent / name).read_text(errors="replace").startswith(HEADER):
            raise ValueError(f"{path.parent / name}: already exists, and is not of the Hub code; move it")
    return files | {CONFIG: json.dumps(config | {"auto_map": AUTO_MAP}, indent=2, sort_keys=True) + "\n"}


def hub_code() -> dict[str, str]:
    """Source of each file of the Hub code by its name: the model's module and all it imports from this package.

    Raises:
        RuntimeError: if a name in [`GLOBAL_NAMES`] does not occur exactly once in its file.
    """
    files: dict[str, str] = {}
    todo = [ENTRY]
    while todo:
        path = todo.pop()
        name = flat_name(path)
        if f"{name}.py" in files:
            continue
        if name in COMPILED:
            source = STUB
        else:
            source, needed = with_flat_imports(path)
            todo += needed
        files[f"{name}.py"] = HEADER + source
    version = hashlib.sha256("".join(files[name] for name in sorted(files)).encode()).hexdigest()[:8]
    for name, renamed in GLOBAL_NAMES.items():
        for native, own in renamed.items():
            files[name] = replaced_once(files.get(name, ""), native, own.format(version=version), name)
    return files


def replaced_once(source: str, old: str, new: str, name: str) -> str:
    """`source`, the text of file `name`, with `new` for `old`; RuntimeError unless `old` occurs exactly once."""
    if (count := source.count(old)) != 1:
        raise RuntimeError(f"{name}: {old} occurs {count} times, not once, so the Hub code cannot be made")
    return source.replace(old, new)


def flat_name(path: Path) -> str:
    """A module's name among the flat files: a package's `__init__.py` is named for its folder."""
    return path.parent.name if path.name == "__init__.py" else path.stem


def with_flat_imports(path: Path) -> tuple[str, list[Path]]:
    """A file's source with its relative imports pointing at flat files, and the files that these are."""
    lines = path.read_text(encoding="utf-8").splitlines()
    tree = ast.parse("\n".join(lines))
    needed: list[Path] = []
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level > 0]
    for node in sorted(statements, key=lambda node: -node.lineno):
        base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
        flat: list[str] = []
        names: list[str] = []
        for alias in node.names:
            renamed = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
            submodule = _module_file(base / alias.name) if base.is_dir() else None
            if submodule:
                needed.append(submodule)
                # transformers looks for `from .name import` to know which files to fetch.
                flat += [f"from .{flat_name(submodule)} import __doc__ as _", f"from . import {renamed}"]
            else:
                names.append(renamed)
        if names:
            package = _module_file(base)
            if package is None:
                raise ValueError(f"{path}:{node.lineno}: cannot follow the import of {', '.join(names)}")
            needed.append(package)
            flat.append(f"from .{flat_name(package)} import {', '.join(names)}")
        indent = " " * node.col_offset
        lines[node.lineno - 1 : node.end_lineno] = [indent + statement for statement in flat]
    return "\n".join(lines) + "\n", needed


def _module_file(stem: Path) -> Path | None:
    """The file of the module `stem`, be it a file or a package."""
    return next((file for file in (stem.with_suffix(".py"), stem / "__init__.py") if file.is_file()), None)


def _replace(path: Path, text: str) -> None:
    unfinished = path.with_name(f".writing-{path.name}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
