"""The Slack API: calls, what `alerter check` asks, and the search for messages in doubt."""
