"""Views, templates, and the text of messages."""
