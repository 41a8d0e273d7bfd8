package jobs

import "fmt"

// Results says how a task of a workflow gets the results of the tasks before it.
type Results string

// Values of Results. The zero value is ResultsAppend.
const (
	// ResultsAppend: after its own arguments.
	ResultsAppend Results = "append"
	// ResultsPrepend: before its own arguments, as in a chain of Celery.
	ResultsPrepend Results = "prepend"
	// ResultsList: one array of all results before its own arguments, as in a chord of
	// Celery.
	ResultsList Results = "list"

	// resultsNone is the value for an immutable task. It occurs only in a message.
	resultsNone Results = "none"
)

// Check returns an error that wraps ErrOption unless r is empty or one of the constants.
func (r Results) Check() error {
	switch r {
	case "", ResultsAppend, ResultsPrepend, ResultsList:
		return nil
	}
	return fmt.Errorf("%w: results %q: use append, prepend or list", ErrOption, string(r))
}

// incoming are the results that a task will get in addition to its own arguments.
type incoming struct {
	count int
	front bool // whether they come before its own arguments
}

// incomingOf returns what a task gets from count tasks before it.
func incomingOf(immutable bool, how Results, count int) incoming {
	switch {
	case immutable:
		return incoming{}
	case how == ResultsList:
		return incoming{count: 1, front: true}
	}
	return incoming{count: count, front: how == ResultsPrepend}
}
