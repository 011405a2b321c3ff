"""From alerts in the state file to messages that people got."""
