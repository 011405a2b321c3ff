"""How fast alerter is, each figure measured beside the limit of what it stands on."""
