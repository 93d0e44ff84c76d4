"""The benchmark: what an adapter costs, against a bare session and against its peers.

Run `uv run --group bench python -m tests.benchmarks [--quick]`. The parts:

- `servers` sends the same six-character tokens in each adapter's own format;
- `adapters` are the clients that read them, `hosts` the servers that goal 7 compares;
- `worker` is one process that runs one of them and reports what the OS says it used;
- `processes` starts servers and workers, and `scenarios` runs them interleaved;
- `goals` turns samples into ratios, `reasons` says why some are missed;
- `report` and `charts` show them, `writing` has the digits;
- `guard` is the small version that CI runs.
"""
