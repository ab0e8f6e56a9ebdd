// Package clearml owns the ClearML REST protocol as a client sees it: the wire
// types, the envelope, login and renewal of the token, and one typed call per
// endpoint that agentctl uses.
//
// It imports nothing of agentctl. It must not know who asks, what a worker is
// doing, or whether the server is a ClearML Server or the embedded one.
//
// # What an error means
//
// An *Error is the server's own refusal: it has understood the call and not done
// it. An *Unreachable is everything else between here and the server; its
// Ambiguous field tells whether the call may have been carried out all the same.
// Reads are repeated a few times with back-off before an error is returned, and
// so are calls that the server turned away for now (429, 503). A write whose
// answer was lost is never repeated: the caller alone knows how to find out.
//
// # GET and POST
//
// ClearML's own clients send nearly everything as GET with a JSON body, and a
// server treats GET, POST and PUT alike. Here reads are GET and writes are POST,
// because proxies and Go's own transport repeat a GET whose answer was lost, and
// a queue must not be popped twice.
package clearml
