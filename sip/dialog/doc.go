// Package dialog keeps the state of every call that passes a proxy, from the messages that
// pass: the dialogs of RFC 3261 §12 as somebody between the two sides sees them.
//
// A call begins with an INVITE outside a dialog, which may be forked to several phones and
// so make several dialogs. It ends when the INVITE fails, when a BYE has ended the last
// dialog, or when nothing can be expected of it any more: its connections are lost, its
// session timer (RFC 4028) has passed, nobody was heard of for too long. What ended and why
// is told once, to whoever writes call detail records.
//
// The records are there for those who watch. Nothing is decided by them, so losing one does
// no harm to the call itself.
//
//	state.go   the machine of one dialog
//	calls.go   the table of all calls: how one begins and is found
//	request.go what passes: requests within dialogs, responses, legs
//	end.go     how calls end by messages
//	sweep.go   how calls end without one
//	record.go  what a call looks like from outside
//
// RFC 3261 (dialogs), RFC 3326 (Reason), RFC 3515 (REFER), RFC 3891 (Replaces), RFC 4028
// (session timers).
package dialog
