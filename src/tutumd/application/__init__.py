"""The rules: what may be asked for, by whom, in which form. One function per verb; sees only ports."""
