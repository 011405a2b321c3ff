"""What the embedded services and the configs of the tests agree on."""

SITE = "11111111-1111-4111-8111-111111111111"
CHANNEL = "C0123456789"
OWNER = "owner@example.com"
SECRETS = {
    "WIX_API_KEY": "wix-key-7f3a",
    "SLACK_BOT_TOKEN": "xoxb-token-91c2",
    "SMTP_PASSWORD": "smtp-pass-55d0",
}
SCOPES = (
    "chat:write",
    "channels:read",
    "channels:history",
    "groups:read",
    "groups:history",
    "im:write",
    "im:history",
)
