"""The engine `kubernetes`. Needs the official client, which the extra `kubernetes` installs."""
