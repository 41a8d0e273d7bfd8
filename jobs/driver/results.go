package driver

import "github.com/galeserver/gale/jobs"

// The numbers by which stores keep how a callback gets the results of its group. Older
// versions know the first two.
const (
	resultsAppend = iota
	resultsImmutable
	resultsPrepend
	resultsList
)

// GroupResults returns the number for Immutable and Results of a group.
func GroupResults(g jobs.NewGroup) int {
	switch {
	case g.Immutable:
		return resultsImmutable
	case g.Results == jobs.ResultsPrepend:
		return resultsPrepend
	case g.Results == jobs.ResultsList:
		return resultsList
	}
	return resultsAppend
}

// ResultsOf is the reverse of GroupResults. some is false if the callback gets no results.
func ResultsOf(number int) (how jobs.Results, some bool) {
	switch number {
	case resultsImmutable:
		return "", false
	case resultsPrepend:
		return jobs.ResultsPrepend, true
	case resultsList:
		return jobs.ResultsList, true
	}
	return jobs.ResultsAppend, true
}
