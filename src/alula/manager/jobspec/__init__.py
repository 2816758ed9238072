"""What tasks have in common that are more than one pod: roles, names, and how an operator's word is weighed."""
