// Package interop is the end-to-end test of sipway: the real binary, started
// as a user starts it, between the real clients. It has no code of its own,
// only tests.
//
// The phones: JsSIP and SIP.js in headless Chromium over WebSocket, with real
// WebRTC audio; baresip over UDP and TLS; a phone built on emiago/sipgo over TCP
// and TLS; SIPp for load. Each is wrapped as a phone, which tells what happens to
// it as events; a test waits for events and never for time. Beside them there is
// Kamailio, the server of another domain.
//
// What must be installed: testdata/install.sh installs it or says it. The
// server under test is built with the race detector, unless the environment
// variable SIPWAY_BINARY names one to test.
package interop
