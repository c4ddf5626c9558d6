// Package resolver looks names up in the DNS, with the records that SIP needs and Go's own
// resolver lacks: NAPTR, and SRV with its time to live.
//
// An answer is kept for its time to live, and so is the answer that there is none (RFC
// 2308); whoever asks meanwhile for the same shares one question. When no nameserver can
// answer, what was known is used for some time longer (RFC 8767): calls go on through an
// outage of the DNS, for that is not the time for the numbers of a trunk to change.
//
// Names of the hosts file are answered from that, localhost is loopback and invalid does
// not exist (RFC 6761 §6.3, §6.4). Names are absolute: search domains are for people who
// type, and a SIP URI means the same wherever it is read.
package resolver
