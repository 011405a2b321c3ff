"""The Slack API: calls, their limits, and looks for messages in doubt."""
