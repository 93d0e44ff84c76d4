"""Text into events: the forms of tool calls, JSON as models write it, objects in prose."""
