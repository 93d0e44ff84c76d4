"""What the command `ai365vip` is made of. Needs the extra `cli`; `cli.py` imports it."""
