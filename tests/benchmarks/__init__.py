"""The benchmark: what streaming costs, against a bare session and against three peers.

`README.md` says how to run it and what came of the last run. The parts:

- `servers` sends the same tokens in each client's own wire format, `adapters` are the clients;
- `worker` is one process that runs one of them, `processes` starts it and the server;
- `scenarios` says what is measured and measures it, `goals` judges it;
- `report` and `charts` show it, `guard` is the small version that CI runs.
"""
