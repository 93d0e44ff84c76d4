"""`python -m langchain_ai365vip` is the command `ai365vip`."""

from langchain_ai365vip.cli import main

if __name__ == "__main__":
    main()
