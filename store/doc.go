// Package store holds what sipway must not forget: the bindings of its registrar (the
// location service of RFC 3261 §10), the users that may register, and secrets that outlive
// a restart.
//
// The package itself has the types, the interfaces that callers use, and the rules that
// every implementation shares; [Apply] is RFC 3261 §10.3 steps 6 to 8 as a pure function.
// The implementations are the packages below it, each held to the same contract by
// store/storetest:
//
//   - memory: maps; nothing survives the process
//   - sqlite: one file; a write is on the disk before it returns
//   - postgres: a database that several nodes share
//
// store/dsn opens the one that a configuration line names.
//
// RFCs: 3261 §10.3 (bindings, order of requests), 5626 §6 (instance and reg-id), 3327
// (Path), 8760 (H(A1) for more than one algorithm).
package store
