#!/usr/bin/env python3
"""What the daemon is doing, a line for each change."""

import sluice


def main() -> None:
    with sluice.Client() as client, client.watch() as states:
        for s in states:
            slots = ", ".join(f"{d.model} {d.slots_in_use}/{d.slots}" for d in s.deployments)
            print(
                f"queued {s.calls_queued}, running {s.calls_running}, done {s.calls_completed}, "
                f"pressure {s.pressure_level}; {slots}",
                flush=True,
            )


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
