"""Watch the reviews of Wix sites and alert their owners about every low-rated one."""

__version__ = "0.1.0"
