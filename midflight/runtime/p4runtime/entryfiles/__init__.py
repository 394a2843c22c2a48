"""Files with table entries and other control-plane state, in the forms of p4lang's tools."""
