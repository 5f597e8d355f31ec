"""The tests: pure logic in virtual time, clients against the sandbox over real sockets."""
