"""The Slack app of alerter: what it may do, and a link that fills it in.

https://docs.slack.dev/reference/app-manifest
"""

import json
from typing import Any
from urllib.parse import quote

MANIFEST: dict[str, Any] = {
    "display_information": {
        "name": "alerter",
        "description": "Alerts on low-rated reviews while there is still time to answer them.",
    },
    "features": {
        "app_home": {"messages_tab_enabled": True, "messages_tab_read_only_enabled": True},
        "bot_user": {"display_name": "alerter", "always_online": True},
    },
    "oauth_config": {
        "scopes": {
            "bot": [
                "chat:write",
                "channels:read",
                "channels:history",
                "groups:read",
                "groups:history",
                "im:read",
                "im:history",
                "im:write",
                "mpim:read",
                "mpim:history",
            ]
        }
    },
    "settings": {
        "interactivity": {"is_enabled": True},
        "org_deploy_enabled": False,
        "socket_mode_enabled": True,
        "token_rotation_enabled": False,
    },
}


def app_link() -> str:
    """Return the address at which Slack offers to create the app."""
    manifest = json.dumps(MANIFEST, separators=(",", ":"))
    return f"https://api.slack.com/apps?new_app=1&manifest_json={quote(manifest, safe='')}"
