"""The language of a message: its sentences, dates, numbers and durations.

The sentences stand in `languages/<code>.po`; an English one that is not there stays as it is.
"""

import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache, lru_cache
from gettext import NullTranslations
from io import BytesIO
from pathlib import Path

from babel import Locale
from babel.dates import format_date, format_skeleton, parse_pattern
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_currency, format_decimal, format_percent
from babel.support import Translations

from alerter.render.formatting import NO_BREAK

CATALOGS = Path(__file__).parent / "languages"
_REMEMBERED = 1000  # days and numbers
_LOCALES = {"en": "en_GB"}  # its dates are read the same way everywhere: 25 November


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
        self.translations = NullTranslations() if code == "en" else _read_catalog(code)
        self.gettext = self.translations.gettext
        self.pgettext = self.translations.pgettext
        self.ngettext = self.translations.ngettext

    def date(self, moment: datetime | None, *, weekday: bool = True) -> str:
        """Return a moment in its own timezone, such as Tuesday, 3 March 2026, 14:05."""
        if moment is None:
            return self.gettext("on an unknown date")
        day = _formatted_date(moment.date(), "full" if weekday else "long", self.locale)
        return f"{day}, {_clock(moment)}"

    def short_date(self, moment: datetime | None, *, year: bool = False) -> str:
        """Return a moment in its own timezone, such as Tue 3 Mar, 14:05."""
        if moment is None:
            return self.gettext("on an unknown date")
        day = _short_day(moment.date(), "yMMMEd" if year else "MMMEd", self.locale)
        return f"{day}, {_clock(moment)}"

    def day(self, moment: datetime | None) -> str:
        """Return the day of a moment in its own timezone, such as 3 March 2026."""
        if moment is None:
            return self.gettext("an unknown day")
        return _keep_together(_formatted_date(moment.date(), "long", self.locale))

    def period(self, began: datetime, ended: datetime, *, short: bool = False) -> str:
        """Return the days from a moment to a day before another, such as 28 Nov – 4 Dec.

        The months are abbreviated if it is `short`.
        """
        last = max(ended - timedelta(days=1), began)
        months = "MMM" if short else "MMMM"
        if began.date() == last.date():
            return _keep_together(format_skeleton(f"{months}d", began, None, locale=self.locale))
        known = self.locale.interval_formats
        parts = known["MMMMd"] if "MMMMd" in known and not short else known["MMMd"]
        same_month = (began.year, began.month) == (last.year, last.month)
        text = "".join(
            parse_pattern(re.sub("M+", months, part)).apply(moment, self.locale)
            for part, moment in zip(parts["d" if same_month else "M"], (began, last), strict=True)
        )
        # Versions of CLDR differ in the spaces between two numbers.
        text = re.sub(r"(?<=\d)\s*–\s*(?=\d)", "–", text)
        if self.direction == "rtl":  # else "19–25" is shown as "25–19"
            text = re.sub(r"\d+–\d+", "\u2066\\g<0>\u2069", text)
        return _keep_together(text)

    def duration(self, length: timedelta | None) -> str:
        """Return a length of time in its two largest units, in words; empty for None.

        Such as 3 hours 12 minutes. Its words are in the catalogs, because Babel has no cases: in
        German it is "3 Tage", and "nach 3 Tagen".
        """
        if length is None:
            return ""
        minutes = max(int(length.total_seconds() // 60), 0)
        days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
        units = [self._days(days), self._hours(hours)]
        if not days:
            units = [self._hours(hours), self._minutes(minutes)]
        larger, smaller = units
        if larger and smaller:
            both = self.pgettext("duration", "%(larger)s %(smaller)s")
            # Hebrew writes "and" as one letter, which a hyphen parts from a number only.
            form = both if smaller[0].isdecimal() else both.replace("-%", "%")
            return form % {"larger": larger, "smaller": smaller}
        return larger or smaller or self.gettext("less than a minute")

    def _days(self, number: int) -> str:
        text = self.ngettext("%(number)s day", "%(number)s days", number)
        return self._counted(text, number)

    def _hours(self, number: int) -> str:
        text = self.ngettext("%(number)s hour", "%(number)s hours", number)
        return self._counted(text, number)

    def _minutes(self, number: int) -> str:
        text = self.ngettext("%(number)s minute", "%(number)s minutes", number)
        return self._counted(text, number)

    def _counted(self, text: str, number: int) -> str:
        """Return a number with its unit, on one line; empty for none."""
        return _keep_together(text % {"number": self.number(number)}) if number else ""

    def number(self, value: float, *, digits: int | None = None) -> str:
        """Return a number, such as 12,345.6, with so many decimal places."""
        pattern = None if digits is None else f"#,##0.{'0' * digits}"
        return _formatted_number(value, pattern, self.locale)

    def money(self, amount: Decimal, currency: str) -> str:
        """Return an amount of a currency by its code, such as €12.50."""
        return format_currency(amount, currency, locale=self.locale)

    def percent(self, share: float) -> str:
        """Return a share of 1 as a percentage, such as 12%."""
        return format_percent(share, locale=self.locale)


def _clock(moment: datetime) -> str:
    """Return the time of day, such as 14:05; `strftime` takes seven times as long."""
    return moment.time().isoformat("minutes")


@cache
def get_language(code: str) -> Language:
    """Return a language by its code, read once in a process."""
    return Language(code)


# Many messages have the same days and numbers, and each formatting takes 0.02 ms.
_formatted_date = lru_cache(_REMEMBERED)(format_date)
_formatted_number = lru_cache(_REMEMBERED)(format_decimal)


@lru_cache(_REMEMBERED)
def _short_day(day: date, fields: str, locale: Locale) -> str:
    midnight = datetime.combine(day, time())
    return _keep_together(format_skeleton(fields, midnight, None, locale=locale))


def _keep_together(text: str) -> str:
    """Return a text that does not break after a number, and has spaces of one width."""
    return re.sub(r"(\d\.?) ", rf"\1{NO_BREAK}", text.replace("\u2009", " "))


def _read_catalog(code: str) -> NullTranslations:
    with (CATALOGS / f"{code}.po").open("rb") as file:
        catalog = read_po(file, locale=code)
    compiled = BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    return Translations(compiled)
