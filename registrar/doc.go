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
// [Notifier] tells those who have subscribed to a user what becomes of the bindings.
//
// The files:
//
//	register.go    RFC 3261 §10.3  a REGISTER, step by step
//	contact.go     §10.3 steps 6 and 7, RFC 3327 §5.3  what becomes of each contact
//	key.go         §10.2.4, RFC 5626 §6  which contacts are the same
//	sips.go        RFC 5630 §5.2  when a sips contact is bound
//	reply.go       §10.3 step 8, RFC 3608 §6.1  responses
//	outbound.go    RFC 5626 §6  flows of a client
//	failed.go      RFC 5626 §11.5  flows that an edge proxy has lost
//	gruu.go        RFC 5627 §5, §6.1  GRUUs
//	flows.go       bindings end with their connection
//	returns.go     clients that come back
//	contacts.go    RFC 7118 §5  contacts that nobody can resolve
//	events.go      who watches hears of every change
//	regevent.go    RFC 3680, RFC 6665 §4.2.1  SUBSCRIBE to registrations
//	notify.go      RFC 6665 §4.2.2  NOTIFY, one at a time
//	reginfo.go     RFC 3680 §5, RFC 5628 §5  what stands in it
//	run.go         housekeeping
package registrar
