// Package locate finds the servers that a SIP URI leads to (RFC 3263), and remembers which
// of them failed.
//
//	locate.go    §4 as a whole: the servers of a URI one after the other, looked up when it
//	             is their turn
//	transport.go §4.1  the transport: parameter, NAPTR, SRV of the transports there are
//	server.go    §4.2  port and address: SRV in the order of RFC 2782, AAAA and A
//	response.go  §5    where a response goes whose connection has gone
//	box.go       §4.3  servers that failed, for all requests
package locate
