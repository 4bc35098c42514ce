package store

import (
	"errors"
	"fmt"
)

// AccessError means that the lake is there but does not let us do it: no permission, no such bucket, wrong
// credentials, a full disk. Repeating it does not help; a person has to do something.
type AccessError struct {
	Op     string // what was tried: "get", "put", ...
	URI    string // where
	Reason string // what came back, in words
	Advice string // what to do
	Err    error  // as the file system or the server gave it
}

func (e *AccessError) Error() string {
	return fmt.Sprintf("%s %s: %s (%v): %s", e.Op, e.URI, e.Reason, e.Err, e.Advice)
}

func (e *AccessError) Unwrap() error { return e.Err }

// ErrOutcomeUnknown is matched by the error of a PutIfAbsent that may or may not have created the object. The caller
// has to look before it does anything else.
var ErrOutcomeUnknown = errors.New("the outcome is unknown")

// ErrNoConditionalPut is matched by what CheckConditionalPut says of a store on which two writers would overwrite each
// other's commits.
var ErrNoConditionalPut = errors.New("the store does not refuse to create an object that exists")
