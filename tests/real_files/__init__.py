"""Files of other projects, by which our readers are compared with the tools that the field trusts."""
