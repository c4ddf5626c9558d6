package postgres_test

// crashDSN and crashRound, set in the environment, make the test binary the victim of
// TestKill instead of running tests.
const (
	crashDSN   = "SIPWAY_TEST_CRASH_DSN"
	crashRound = "SIPWAY_TEST_CRASH_ROUND"
)

func victim(dsn, round string) {}
