"""One module a row of the table; each measures by itself."""
