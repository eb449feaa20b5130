"""Run specs from files and from the examples that come with varloop."""

from __future__ import annotations

import re
import secrets
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from varloop.errors import SpecError, UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from varloop.spec import RunSpec

__all__ = [
    "checked",
    "complete_examples",
    "example",
    "example_names",
    "new_run",
    "read",
    "run_option",
    "set_option",
    "spec_argument",
    "with_settings",
]


def example_names() -> list[str]:
    """Names of the examples."""
    return sorted(Path(each.name).stem for each in files("varloop.cli").joinpath("specs").iterdir())


def example(name: str) -> str:
    """The text of an example."""
    return files("varloop.cli").joinpath("specs", f"{name}.yaml").read_text("utf-8")


def complete_examples(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Examples, for the shell."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in example_names() if name.startswith(incomplete)]


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Examples and the specs in this folder, or else any file: bash drops every name beside "any file"."""
    from click.shell_completion import CompletionItem

    here = sorted(path.name for path in Path().iterdir() if path.suffix in (".json", ".yaml", ".yml"))
    found = complete_examples(context, parameter, incomplete)
    found += [CompletionItem(name) for name in here if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]


spec_argument = click.argument("spec", shell_complete=_complete)
set_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Change a field of the spec, e.g. --set shots=1024 --set budget.iterations=20.",
)
run_option = click.option(
    "--run",
    "run_id",
    default="",
    metavar="ID",
    help="Id of the new run.  [default: made from the spec's name]",
)


def new_run(name: str) -> str:
    """An id for a new run of the spec with this short name."""
    return f"{name[:60]}-{secrets.token_hex(3)}"


def read(name: str) -> tuple[str, dict[str, Any]]:
    """A short name and the plain data of a spec: a JSON or YAML file, ``-`` for standard input, or an example.

    :raises UsageError: if there is no such spec or it cannot be read.
    """
    if name == "-":
        return "run", _parse(sys.stdin.read(), "standard input")
    if name in example_names():
        return name, _parse(example(name), name)
    path = Path(name)
    if not path.is_file():
        raise UsageError(
            f"there is no spec {name!r}: neither a file nor an example",
            hint=f"a JSON or YAML file, or one of {', '.join(example_names())}",
        )
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{name} cannot be read: {error}") from error
    return _short(path), _with_source(_parse(text, name), path.parent)


def _with_source(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The spec with the source of its circuit, if it names a file of OpenQASM beside it."""
    from varloop.client.builder import with_source

    return {**data, "circuit": with_source(data["circuit"], folder)} if "circuit" in data else data


def _short(path: Path) -> str:
    """What a run of this spec may be called."""
    name = path.absolute().parent.name if path.stem == "spec" else path.stem
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-_") or "run"


def with_settings(data: dict[str, Any], settings: tuple[str, ...]) -> dict[str, Any]:
    """The spec with some fields changed; ``a.b=value`` reaches inside, the value is YAML.

    :raises UsageError: if a setting has no ``=``, or reaches into what is no object.
    """
    for setting in settings:
        field, equals, value = setting.partition("=")
        *path, last = field.split(".")
        if not equals or not last:
            raise UsageError(f"--set {setting}: expected FIELD=VALUE", hint="--set shots=1024")
        inner = data
        for part in path:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise UsageError(f"--set {setting}: {part} is no object in this spec")
        inner[last] = _yaml(value, f"--set {field}")
    return data


def checked(data: dict[str, Any], pipeline: str) -> RunSpec:
    """The spec, if it has no fault that can be found without running it.

    :param pipeline: one of your own may know more optimizers, and is not checked for those.
    :raises SpecError: with all faults at once.
    """
    from varloop.app import DEFAULT
    from varloop.client import builder
    from varloop.spec import parse

    data = _with_source(data, Path())  # what --set named
    return builder.checked(data) if pipeline == DEFAULT else parse(data)


def _parse(text: str, name: str) -> dict[str, Any]:
    data = _yaml(text, name)
    if not isinstance(data, dict):
        raise SpecError([f"{name}: expected an object with the fields of a spec, got {type(data).__name__}"])
    return data


def _yaml(text: str, name: str) -> Any:
    """Plain data from YAML, of which JSON is a part; numbers as YAML 1.2 has them, so that 1e-3 is one."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )
    try:
        return yaml.load(text, Loader)  # noqa: S506  a safe loader
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise UsageError(
            f"{name}{line}: {getattr(error, 'problem', None) or error}", hint="JSON or YAML"
        ) from error
