"""Template files: the built-in ones, and an owner's, which are rendered in a process of their own."""

import os
import stat
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import (
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    StrictUndefined,
    TemplateError,
    TemplateNotFound,
    TemplateSyntaxError,
    pass_environment,
)
from jinja2.filters import do_wordwrap
from jinja2.loaders import split_template_path
from jinja2.sandbox import SandboxedEnvironment

import alerter
from alerter.errors import RenderError
from alerter.render.words import cut, each_said, slack_text, slack_words

_LARGEST_FILE = 256_000


class TemplateRefused(TemplateError):
    """A template file is none that may be read."""


class _FolderLoader(FileSystemLoader):
    """Reads plain files of one folder: nothing outside, whatever a link says, and nothing that never ends."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._folder = folder

    def get_source(
        self,
        environment: Environment,  # noqa: ARG002 - Jinja's signature
        template: str,
    ) -> tuple[str, str, Callable[[], bool]]:
        try:
            path = self._path(template)
            source, changed = _read(path, template)
        except (FileNotFoundError, NotADirectoryError):
            raise TemplateNotFound(template) from None
        except OSError as error:
            raise TemplateRefused(f"{template} cannot be read: {error.strerror}") from error
        return source.decode(), str(path), lambda: self._is_as_it_was(template, path, changed)

    def _path(self, template: str) -> Path:
        folder = self._folder.resolve()
        try:
            path = folder.joinpath(*split_template_path(template)).resolve()
        except RuntimeError as error:  # a link to itself
            raise TemplateRefused(f"{template} cannot be read: it leads to itself") from error
        if not path.is_relative_to(folder):
            raise TemplateRefused(f"{template} lies outside the folder of templates")
        return path

    def _is_as_it_was(self, template: str, path: Path, changed: int) -> bool:
        try:
            return self._path(template) == path and path.stat().st_mtime_ns == changed
        except (OSError, TemplateError):
            return False


def _read(path: Path, template: str) -> tuple[bytes, int]:
    """Return what a file holds and when it was changed. A FIFO is opened without waiting for who writes it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise TemplateRefused(f"{template} is no file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            source = file.read(_LARGEST_FILE + 1)
    finally:
        os.close(descriptor)
    if len(source) > _LARGEST_FILE:
        raise TemplateRefused(f"{template} has more than {_LARGEST_FILE // 1000} kB")
    return source, about.st_mtime_ns


def builtin_templates() -> Path:
    """The folder of the built-in templates: inside an installed package, beside it in a checkout."""
    package = Path(alerter.__file__).parent
    inside = package / "templates"
    return inside if inside.is_dir() else package.parent / "templates"


def builtin_names() -> list[str]:
    """The names of the built-in templates."""
    return sorted(file.name for file in builtin_templates().iterdir() if file.is_file())


def folder_state(folder: Path) -> list[tuple[str, tuple[int, int]]] | None:
    """Return what changes when somebody changes a file of a folder."""
    try:
        return [(file.name, _changed(file)) for file in sorted(folder.iterdir())]
    except OSError:  # the folder is not there any more: that is a change too
        return None


def _changed(file: Path) -> tuple[int, int]:
    """A link and what it leads to may each change."""
    itself = file.lstat().st_mtime_ns
    try:
        return itself, file.stat().st_mtime_ns
    except OSError:
        return itself, 0


@cache
def builtin_environment() -> Environment:
    """Compiles the built-in templates once for all renderers of a process: a reload makes new ones."""
    return _environment(Environment, FileSystemLoader(builtin_templates()), auto_reload=False)


def owners_environment(folder: Path) -> Environment:
    """An owner's templates before the built-in ones, in Jinja's sandbox, which bounds neither time nor memory."""
    loader = ChoiceLoader([_FolderLoader(folder), FileSystemLoader(builtin_templates())])
    return _environment(SandboxedEnvironment, loader, auto_reload=True)


def _environment(
    kind: type[Environment], loader: ChoiceLoader | FileSystemLoader, *, auto_reload: bool
) -> Environment:
    env = kind(
        loader=loader,
        auto_reload=auto_reload,
        autoescape=lambda name: bool(name and name.endswith(".html")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {
        "cut": cut,
        "slack_text": slack_text,
        "slack_words": slack_words,
        "wordwrap": _wordwrap,
    }
    return env


@pass_environment
def _wordwrap(env: Environment, text: str, *args: Any, **kwargs: Any) -> str:
    """Jinja's own, line by line, so that what it makes of a customer's words is marked as those are."""
    return each_said(text, lambda line: do_wordwrap(env, line, *args, **kwargs))


def fill(env: Environment, name: str, values: Mapping[str, Any]) -> str:
    """Render one template. Raises RenderError."""
    try:
        return env.get_template(name).render(values)
    except UnicodeDecodeError as error:
        raise render_error(name, "is not UTF-8 text") from error
    except TemplateRefused as error:
        raise render_error(_where(error, name), str(error)) from error
    except Exception as error:  # a template may call anything that its values have
        said = str(error) if isinstance(error, TemplateError) else repr(error)
        raise render_error(_where(error, name), said, type(error).__name__) from error


def render_error(where: str, said: str, briefly: str | None = None) -> RenderError:
    """A fault of a template; `briefly` is without anything that the message holds."""
    return RenderError(f"template {where}: {said}", f"{where}: {briefly or said}")


def _where(error: Exception, name: str) -> str:
    """The file and line where it went wrong: a syntax error knows, any other has them in its traceback."""
    if isinstance(error, TemplateSyntaxError):
        return f"{error.name or name}, line {error.lineno}"
    lineno, trace = None, error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.suffix in (".txt", ".html", ".json"):
            name, lineno = file.name, trace.tb_lineno
        trace = trace.tb_next
    return f"{name}, line {lineno}" if lineno else name
