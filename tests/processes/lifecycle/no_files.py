"""No file is left for the background loop: its first caller is told, and the next one served."""

import asyncio
import errno
import gc
import resource
import sys

from langchain_ai365vip import ChatAI365VIP

url, answer = sys.argv[1:]
model = ChatAI365VIP(base_url=url)
# Whatever is imported at the first call is so now.
assert asyncio.run(model.ainvoke("x")).text == answer

limits = resource.getrlimit(resource.RLIMIT_NOFILE)
told = None
# asyncio complains of a loop that it could not finish.
sys.unraisablehook = lambda _: None
resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
try:
    model.invoke("x")
except OSError as exc:
    told = exc.errno
gc.collect()
resource.setrlimit(resource.RLIMIT_NOFILE, limits)
sys.unraisablehook = sys.__unraisablehook__
assert told == errno.EMFILE, told
assert model.invoke("x").text == answer
