"""The language of a message: its sentences, dates, numbers and durations.

The sentences stand in `languages/<code>.po`; an English one that is not there stays as it is.
"""

from datetime import datetime, timedelta
from functools import cache
from gettext import NullTranslations
from io import BytesIO
from pathlib import Path

from babel import Locale
from babel.dates import format_date, format_time
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal, format_percent
from babel.support import Translations

CATALOGS = Path(__file__).parent / "languages"
_LOCALES = {"en": "en_GB"}  # its dates are read the same way everywhere: 25 November
_RIGHT_TO_LEFT_MARK = "\u200f"


class Language:
    """Translates sentences, and formats values as its readers write them.

    `direction` is `ltr` or `rtl`, as in HTML; `start` and `end` are the sides on which its lines
    begin and end.
    """

    def __init__(self, code: str) -> None:
        self.code = code
        self.locale = Locale.parse(_LOCALES.get(code, code))
        self.direction = self.locale.text_direction
        self.start, self.end = ("left", "right") if self.direction == "ltr" else ("right", "left")
        self.translations = _read_catalog(CATALOGS / f"{code}.po")
        self.gettext = self.translations.gettext
        self.pgettext = self.translations.pgettext
        self.ngettext = self.translations.ngettext

    def date(self, moment: datetime | None, *, weekday: bool = True) -> str:
        """Return a moment in its own timezone, such as Tuesday, 3 March 2026, 14:05."""
        if moment is None:
            return self.gettext("on an unknown date")
        day = format_date(moment, "full" if weekday else "long", self.locale)
        return f"{day}, {format_time(moment, 'HH:mm', moment.tzinfo, self.locale)}"

    def duration(self, length: timedelta | None) -> str:
        """Return a length of time in its two largest units; empty for None."""
        if length is None:
            return ""
        minutes = max(int(length.total_seconds() // 60), 0)
        days, hours = minutes // 1440, minutes // 60 % 24
        if days:
            return f"{days} d {hours} h" if hours else f"{days} d"
        if hours:
            return f"{hours} h {minutes % 60} min"
        return f"{minutes} min" if minutes else self.gettext("less than a minute")

    def number(self, value: float) -> str:
        """Return a number, such as 12,345.6."""
        return format_decimal(value, locale=self.locale)

    def percent(self, share: float) -> str:
        """Return a share of 1 as a percentage, such as 12%."""
        return format_percent(share, locale=self.locale)


@cache
def get_language(code: str) -> Language:
    """Return a language by its code, read once in a process."""
    return Language(code)


def _read_catalog(path: Path) -> NullTranslations:
    """Return the sentences of a catalog; English has none."""
    if not path.exists():
        return NullTranslations()
    with path.open("rb") as file:
        catalog = read_po(file, locale=path.stem)
    compiled = BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    return Translations(compiled)
