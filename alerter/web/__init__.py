"""What alerter serves over HTTP: webhooks in, health and metrics out. Needs the extra `web`."""
