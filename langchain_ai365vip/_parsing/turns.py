"""The marks of a model's turn, beside those of its calls, one row each.

What `dialects` says of marks holds here, too: they are written as the model writes them, compared
without regard to spelling, and all of them are always on.
"""

from __future__ import annotations

from typing import Final

ENDS: Final = (
    *("<|eom_id|>", "<|eot_id|>", "<|im_end|>", "<|end|>", "<|end_of_text|>", "<|endoftext|>"),
    *("<|call|>", "<|return|>", "</s>", "<end_of_turn>", "<turn|>", "<|end_message|>"),
    *("<｜end▁of▁sentence｜>", "<|END_OF_TURN_TOKEN|>", "<|endofturn|>", "<|eot|>", "[e~["),
    *("<|message_model|>", "<|assistant_end|>", "<seed:eos>", "<|end_of_msg|>", "<|eom|>"),
    *("<|start|>assistant", "<|message_sep|>", "<|im_start|>assistant", "<|END_RESPONSE|>"),
    *("<|END_TEXT|>", "<|role_end|>", "<|close|>response<|sep|>", "<|close|>message<|sep|>"),
)
"""What ends a model's turn: no part of the text, where it follows a call or one of `CHANNELS`."""

THOUGHTS: Final = (
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("◁think▷", "◁/think▷"),
    ("<|channel|>analysis<|message|>", "<|end|>"),
    ("<|start|>assistant<|channel|>analysis<|message|>", "<|end|>"),
    ("<|channel>thought", "<channel|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|thinking|>", "<|/thinking|>"),
    ("<|think:start|>", "<|think:end|>"),
    ("<|open|>think<|sep|>", "<|close|>think<|sep|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<longcat_think>", "</longcat_think>"),
    ("<|content_thinking|>", "<|end_message|>"),
)
"""The marks around reasoning."""

CHANNELS: Final = (
    "<|channel|>final<|message|>",
    "<|channel|>commentary<|message|>",
    "<|start|>assistant<|channel|>final<|message|>",
    "<|start|>assistant<|channel|>commentary<|message|>",
    "<|START_RESPONSE|>",
    "<|START_TEXT|>",
    "<|open|>response<|sep|>",
    "<|content_text|>",
)
"""What stands in front of what the model says to the user; no part of the text."""

RESULTS: Final = (
    "<tool_response>",
    "<tool_result>",
    "<tool_results>",
    "<function_results>",
    "<function_response>",
    "<|tool_response>",
    "<start_function_response>",
    "<|tool_response|>",
    "<|START_TOOL_RESULT|>",
    "<｜tool▁outputs▁begin｜>",
    "<｜tool▁output▁begin｜>",
    "[TOOL_RESULTS]",
    "<|observation|>",
    "<|user|>",
    "<|im_start|>user",
    "Observation:",
)
"""What begins a tool's result, or a user's turn: behind a call the model has made it up."""

NAME_PREFIXES: Final = ("call:", "functions.", "default_api.")
"""What may stand in front of a tool's name and is no part of it."""
