"""Whether an app's credentials are for the site that the config names: its instance id may be another site's."""

import logging
import re
from typing import Any

from alerter.config import Site
from alerter.errors import WixAuthError

log = logging.getLogger(__name__)


class SiteProof:
    """Compares what Wix says of each token with the config, and remembers of which sites Wix says nothing."""

    def __init__(self) -> None:
        self._unproven: set[str] = set()

    def check(self, site: Site, info: dict[str, Any] | None) -> None:
        """Compare Wix's answer about a token (None: refused). Raises WixAuthError where it opens another site.

        Where Wix does not say which site it opens, that is logged once, and the site is read all the same.
        """
        opened = (info or {}).get("siteId")
        if not isinstance(opened, str) or not opened:
            if site.site_id not in self._unproven:
                self._unproven.add(site.site_id)
                log.warning(
                    'site "%s": Wix does not say which site its app opens; see that instance_id is of this site',
                    site.name,
                )
            return
        self._unproven.discard(site.site_id)
        if opened.lower() != site.site_id.lower():
            other = (
                f"site {opened}" if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", opened) else "another site"
            )
            raise WixAuthError(
                f"its instance_id is of {other}, not of the site that site_id names; it is not read",
                401,
            )

    def is_open(self, site: Site) -> bool:
        """Whether Wix was asked which site its credentials are for, and did not say."""
        return site.site_id in self._unproven
