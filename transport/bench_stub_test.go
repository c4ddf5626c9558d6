package transport

const idleServerEnv = "X"

func idleServer() {}
