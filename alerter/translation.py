"""Mark texts that stand in tables: `make messages` finds them, `render/language.py` translates."""


def mark(text: str) -> str:
    """Return the text as it is."""
    return text
