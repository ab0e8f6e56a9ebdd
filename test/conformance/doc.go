// Package conformance puts a ClearML server under test: what the protocol says is
// written as rows of data, in testdata, and each row is requests with the replies
// that are expected. The ordinary tests run them against the embedded server;
// with AGENTCTL_CONFORMANCE_URL they run against the server at that address, with
// the keys of CLEARML_API_ACCESS_KEY and CLEARML_API_SECRET_KEY, and against the
// file server of CLEARML_FILES_HOST where that is set.
//
// A row of a .rows file:
//
//	== what it shows
//	!! the words by which docs/server.md lists the difference
//	> tasks.create {"name": "$u a", "type": "training"}
//	< {"id": "$t"}
//	> tasks.stopped {"task": "$t"}
//	< 400/110 "Invalid task status"
//	<real 200
//
// A request is an action and a body; lines that begin with | are its body where
// that is lines of JSON. ">?" repeats a request until its reply is as expected.
// A reply is a code, 200 when left out, with a subcode, and after it what the
// data must hold: fields that are not named are not looked at, lists are compared
// whole. "$name" takes a value the first time and is it from then on; $u is text
// that no other row has, $now the time in ms, $begin and $end an hour before and
// after it in s. "$any" is any value, "$none" a field that is not there,
// "~RE" a text that matches, {"$has": V} a list with V in it, {"$len": N} a list
// or an object of that size. A text after a refusal's code is part of its
// message. "<real" is the reply of a ClearML Server where ours is another, and
// such a row names an entry of docs/server.md.
package conformance
