"""Turn alerts in the database into messages that people received."""
