"""Single executions, as flows in virtual time."""
