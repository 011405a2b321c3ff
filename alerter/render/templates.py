"""Template files: the built-in ones and an owner's.

`review` is the template of a review in all its kinds (`new`, `lowered`, `reminder`, `closed`). A
template of an owner that is named for one kind, such as `new.html`, replaces it for that kind.
"""

import json
import os
import stat
from collections.abc import Callable, Mapping, MutableMapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    DictLoader,
    Environment,
    FileSystemLoader,
    StrictUndefined,
    Template,
    TemplateError,
    TemplateNotFound,
    TemplateSyntaxError,
    pass_environment,
    pass_eval_context,
)
from jinja2.filters import do_mark_safe, do_wordwrap
from jinja2.loaders import split_template_path
from jinja2.nodes import EvalContext
from jinja2.runtime import Context, Macro
from jinja2.sandbox import SandboxedEnvironment

import alerter
from alerter.errors import RenderError
from alerter.models import AlertKind
from alerter.render.formatting import cut, slack_text, slack_words, stars
from alerter.render.language import Language
from alerter.render.quoting import change_lines

_REVIEW_KINDS = (AlertKind.NEW, AlertKind.LOWERED, AlertKind.REMINDER, AlertKind.CLOSED)
_ENDINGS = (".subject.txt", ".txt", ".html", ".slack.json")
# The file name that Jinja gives to a template that is none.
_FROM_TEXT = "<template>"
_LARGEST_FILE = 256_000  # bytes


# A text template that an HTML template uses has this at the end of its name.
_AS_HTML = ".txt.html"


class TemplateRefused(TemplateError):
    """A template file may not be read."""


class _FolderLoader(FileSystemLoader):
    """Reads regular files of one folder, and follows no link out of it."""

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
        except RuntimeError as error:  # a link that leads to itself
            raise TemplateRefused(f"{template} cannot be read: it leads to itself") from error
        if not path.is_relative_to(folder):
            raise TemplateRefused(f"{template} lies outside the folder of templates")
        return path

    def _is_as_it_was(self, template: str, path: Path, changed: int) -> bool:
        try:
            return self._path(template) == path and path.stat().st_mtime_ns == changed
        except (OSError, TemplateError):
            return False


class _PartsLoader(BaseLoader):
    """Loads a text template also by the name under which an HTML template uses it."""

    def __init__(self, loader: BaseLoader) -> None:
        self._loader = loader

    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        return self._loader.get_source(environment, _file_of(template))


class _JoinedPath:
    """Has the parts of an HTML template escape values, also those that are text templates."""

    def join_path(self, template: str, parent: str) -> str:
        is_text = template.endswith(".txt") and parent.endswith(".html")
        return template.removesuffix(".txt") + _AS_HTML if is_text else template


class _Gettext:
    """Translates a sentence in one call; what Jinja's extension installs makes three."""

    def __init__(self, language: Language) -> None:
        self._translate = language.gettext

    @pass_eval_context
    def __call__(self, context: EvalContext, text: str, /, **values: Any) -> str:
        translated = self._translate(text)
        # Sentences may hold markup of ours; the values are escaped.
        return (do_mark_safe(translated) if context.autoescape else translated) % values


class _Ngettext:
    """Translates a sentence with a number."""

    def __init__(self, language: Language) -> None:
        self._translate = language.ngettext

    @pass_eval_context
    def __call__(
        self, context: EvalContext, one: str, several: str, num: int, /, **values: Any
    ) -> str:
        translated = self._translate(one, several, num)
        values.setdefault("num", num)
        return (do_mark_safe(translated) if context.autoescape else translated) % values


_TAKE_EVAL_CONTEXT = frozenset({Macro, _Gettext, _Ngettext})


class _Context(Context):
    """Calls macros and sentences directly: at each call, Jinja finds out what they want of it."""

    def call(self, obj: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call what a template calls."""
        if type(obj) not in _TAKE_EVAL_CONTEXT:
            return super().call(obj, *args, **kwargs)
        if kwargs:
            kwargs.pop("_block_vars", None)
            kwargs.pop("_loop_vars", None)
        return obj(self.eval_ctx, *args, **kwargs)


class _Environment(_JoinedPath, Environment):
    """The environment of the built-in templates, which never change."""

    context_class = _Context

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._templates: dict[tuple[Any, Any], Template] = {}

    def get_template(
        self,
        name: str | Template,
        parent: str | None = None,
        globals: MutableMapping[str, Any] | None = None,  # noqa: A002 - Jinja's signature
    ) -> Template:
        """Return a template; Jinja's cache takes a lock and a weak reference for each."""
        found = self._templates.get((name, parent))
        if found is None:
            found = self._templates[name, parent] = super().get_template(name, parent, globals)
        return found

    def make_globals(self, d: MutableMapping[str, Any] | None) -> dict[str, Any]:
        """Return a plain dictionary: looking into Jinja's ChainMap takes a tenth of a message."""
        return {**self.globals, **(d or {})}


class _OwnersEnvironment(_JoinedPath, SandboxedEnvironment):
    """The environment of an owner's templates."""


def _file_of(template: str) -> str:
    return template.removesuffix(".html") if template.endswith(_AS_HTML) else template


def _read(path: Path, template: str) -> tuple[bytes, int]:
    """Return the content and mtime (ns) of a file; O_NONBLOCK, so that a FIFO does not block."""
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
    """Return the folder of the built-in templates.

    It is inside an installed package, and beside the package in a checkout.
    """
    package = Path(alerter.__file__).parent
    inside = package / "templates"
    return inside if inside.is_dir() else package.parent / "templates"


def builtin_names() -> list[str]:
    """Return the names of the built-in templates."""
    return sorted(file.name for file in builtin_templates().iterdir() if file.is_file())


def template_names() -> list[str]:
    """Return every name that a template of an owner can have, apart from files it includes."""
    return sorted({*builtin_names(), *_kind_templates()})


def builtin_name(kind: str, ending: str) -> str:
    """Return the name of the built-in template of a kind of message."""
    return f"{'review' if kind in _REVIEW_KINDS else kind}{ending}"


def owners_name(folder: Path, kind: str, ending: str) -> str:
    """Return the name of the template of a kind of message, with an owner's folder.

    A file that exists but cannot be read counts: rendering it says what is wrong.
    """
    try:
        (folder / f"{kind}{ending}").stat()
    except (FileNotFoundError, NotADirectoryError):
        return builtin_name(kind, ending)
    except OSError:
        pass
    return f"{kind}{ending}"


def _kind_templates() -> dict[str, str]:
    """Return a template for each kind of review, for templates of owners that include them."""
    return {
        f"{kind}{ending}": f'{{% set kind = "{kind}" %}}{{% extends "review{ending}" %}}'
        for kind in _REVIEW_KINDS
        for ending in _ENDINGS
    }


def folder_state(folder: Path) -> list[tuple[str, tuple[int, int]]] | None:
    """Return a value that differs once a file of the folder was changed, added or removed.

    None if the folder does not exist.
    """
    try:
        return [(file.name, _mtimes(file)) for file in sorted(folder.iterdir())]
    except OSError:
        return None


def _mtimes(file: Path) -> tuple[int, int]:
    """Return the mtimes (ns) of a file and of what it links to."""
    itself = file.lstat().st_mtime_ns
    try:
        return itself, file.stat().st_mtime_ns
    except OSError:
        return itself, 0


@cache
def builtin_environment(language: Language) -> Environment:
    """Return the built-in templates in a language, compiled once for all of a process."""
    loader = FileSystemLoader(builtin_templates())
    env = _environment(_Environment, loader, language, auto_reload=False)
    # Used in blocks only, so nothing has to be escaped for HTML.
    env.filters["tojson"] = json.JSONEncoder().encode
    return env


def owners_environment(folder: Path, language: Language) -> Environment:
    """Return an owner's templates with the built-in ones behind them.

    They run in Jinja's sandbox, which limits neither time nor memory.
    """
    loader = ChoiceLoader(
        [
            _FolderLoader(folder),
            FileSystemLoader(builtin_templates()),
            DictLoader(_kind_templates()),
        ]
    )
    return _environment(_OwnersEnvironment, loader, language, auto_reload=True)


def _environment(
    kind: type[Environment], loader: BaseLoader, language: Language, *, auto_reload: bool
) -> Environment:
    env = kind(
        loader=_PartsLoader(loader),
        auto_reload=auto_reload,
        autoescape=lambda name: bool(name and name.endswith(".html")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    env.policies["ext.i18n.trimmed"] = True
    install = env.install_gettext_translations  # type: ignore[attr-defined]  # by the extension
    install(language.translations, newstyle=True)
    env.globals["_"] = env.globals["gettext"] = _Gettext(language)
    env.globals["ngettext"] = _Ngettext(language)
    env.globals["language"] = language
    env.filters |= {
        "cut": cut,
        "date": language.date,
        "duration": language.duration,
        "day": language.day,
        "number": language.number,
        "percent": language.percent,
        "period": language.period,
        "short_date": language.short_date,
        "slack_text": slack_text,
        "slack_words": slack_words,
        "stars": stars,
        "wordwrap": _wordwrap,
    }
    return env


@pass_environment
def _wordwrap(env: Environment, text: str, *args: Any, **kwargs: Any) -> str:
    """Jinja's filter, applied line by line, so that the lines of a quote stay quoted."""
    return change_lines(text, lambda line: do_wordwrap(env, line, *args, **kwargs))


def reply_environment() -> Environment:
    """Return the environment of canned replies: a sandbox without files, and without markup."""
    return SandboxedEnvironment(
        autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def render_template(
    env: Environment, name: str, values: Mapping[str, Any], source: str | None = None
) -> str:
    """Render one template, which is a file unless its `source` is given. Raises RenderError."""
    try:
        template = env.get_template(name) if source is None else env.from_string(source)
        return template.render(values)
    except UnicodeDecodeError as error:
        raise render_error(name, "is not UTF-8 text") from error
    except TemplateRefused as error:
        raise render_error(_where(error, name), str(error)) from error
    except Exception as error:  # a template may call any method of its values
        problem = str(error) if isinstance(error, TemplateError) else repr(error)
        raise render_error(_where(error, name), problem, type(error).__name__) from error


def render_error(where: str, problem: str, fault: str | None = None) -> RenderError:
    """Return the error of a template; `fault` is the problem without content of the message."""
    return RenderError(f"template {where}: {problem}", f"{where}: {fault or problem}")


def _where(error: Exception, name: str) -> str:
    """Return the file and line of an error, from itself or from its traceback."""
    if isinstance(error, TemplateSyntaxError):
        return f"{_file_of(error.name or name)}, line {error.lineno}"
    lineno, trace = None, error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.suffix in (".txt", ".html", ".json"):
            name, lineno = file.name, trace.tb_lineno
        elif file.name == _FROM_TEXT:
            lineno = trace.tb_lineno
        trace = trace.tb_next
    return f"{name}, line {lineno}" if lineno else name
