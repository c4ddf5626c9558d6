// Package registrar processes REGISTER and answers where a user can be reached.
//
// [Registrar.Request] follows RFC 3261 §10.3 step by step; the numbers of its steps stand
// in the code. A 200 is sent only once the store has made the change durable. On this
// goroutine everything happens that memory can decide; a store that may wait is asked on
// another.
//
// A binding lives with its flow: [Registrar.Closed] voids exactly the bindings that were
// made over that incarnation of a connection. Two things make that hold against every
// order of events:
//
//   - No binding counts whose connection is not alive, whatever the store still says
//     ([Registrar.Lookup]). So a close takes effect before anybody is told of it.
//   - An AOR is noted for its flow before the store is asked to bind it, and once the store
//     has, the flow is looked at again. So either the end of the flow finds the note, or
//     the REGISTER finds the flow at its end and voids its own work. The store voids by
//     incarnation, so that this can never harm a binding made anew over another flow.
//
// Who has lost a flow just now is remembered for a moment, and who waits for a user hears of
// his next REGISTER ([Registrar.Lost], [Registrar.Await]). When a user registers over a new
// flow, his other clients must show that they are there: among them may be the ghost of a
// page that has been loaded anew, or of a laptop whose lid is closed.
//
// RFCs: 3261 §10.3, 3327 (Path), 5626 §6 as far as the identity of a binding goes
// (instance and reg-id), 7118 (WebSocket flows, that can't be dialled).
package registrar
