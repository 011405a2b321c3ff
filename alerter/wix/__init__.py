"""The Wix API: HTTP, endpoints, and JSON read into reviews and events."""
