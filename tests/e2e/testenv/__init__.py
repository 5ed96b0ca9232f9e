"""What the end-to-end tests stand on: the daemon under test, scripted model servers, raw clients, real model servers.

Nothing here asserts about sluice; the tests do. Nothing here sleeps for a fixed time: everything waits for a condition
with a deadline (`waiting.eventually`, gates, poll()).
"""
