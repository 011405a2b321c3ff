"""The HTTP server: webhooks, health and metrics. Needs the extra `web`."""
