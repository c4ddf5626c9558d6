package dialog

// State is the state of a dialog, and of a call.
type State uint8

// The states. A call in set-up is Trying until a phone has rung; a dialog begins as Early.
const (
	Trying    State = iota // no dialog yet
	Early                  // RFC 3261 §12.1: a provisional response made it
	Confirmed              // a 2xx did
	Ending                 // a BYE is on its way to the other side
	Ended
)

var stateNames = [...]string{"trying", "early", "confirmed", "ending", "ended"}

// States are all states that a live call can be in.
var States = []State{Trying, Early, Confirmed, Ending}

// String returns the name of the state, "early".
func (s State) String() string { return stateNames[s] }

// event is what happens to a dialog.
type event uint8

const (
	provisional   event = iota // response from 101 to 199 with a To tag
	success                    // 2xx to the INVITE
	failure                    // the INVITE got a final response above 2xx
	bye                        // a BYE passes
	byeChallenged              // 401 or 407 to it: it will come again
	byeAnswered                // any other final response to it
	noDialog                   // 481 to a re-INVITE or UPDATE
	given                      // up: connections lost, timer passed, nothing heard
	events                     // the number of them
)

// on returns the state that an event leads to. What can't be in a state leaves it as it is:
// messages overtake each other, and who watches is the last one to insist.
func (s State) on(e event) State {
	switch e {
	case provisional:
		if s == Trying {
			return Early
		}
	case success:
		if s == Trying || s == Early {
			return Confirmed
		}
	case failure:
		if s == Trying || s == Early { // RFC 3261 §12.3
			return Ended
		}
	case bye:
		if s == Early || s == Confirmed { // a caller may end an early one so (RFC 3261 §15)
			return Ending
		}
	case byeChallenged:
		if s == Ending {
			return Confirmed
		}
	case byeAnswered:
		if s == Ending { // whatever the answer says (RFC 3261 §15.1.1)
			return Ended
		}
	case noDialog:
		if s == Confirmed || s == Ending {
			return Ended
		}
	case given:
		return Ended
	}
	return s
}
