"""A GGUF file as a LangChain chat model: llama.cpp in this process, no server to start.

```python
from langchain_ai365vip.local import LocalModel

with LocalModel() as model:
    for chunk in model.stream("Name three colors."):
        print(chunk.text, end="", flush=True)
```

Needs the package's extra `local`. Without `gguf_path` it takes the demo
weights, SmolLM2-135M-Instruct: **a very small model**, good for trying things out and for
tests, not for answers that anyone relies on.

`model` is the chat model; `llama` loads the file, and frees it without hanging.
"""

from langchain_ai365vip.local.model import (
    DEMO_EXAMPLES,
    DEMO_SYSTEM_PROMPT,
    LocalModel,
    demo_weights,
    with_examples,
)

__all__ = [
    "DEMO_EXAMPLES",
    "DEMO_SYSTEM_PROMPT",
    "LocalModel",
    "demo_weights",
    "with_examples",
]
