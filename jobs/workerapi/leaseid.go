package workerapi

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/galeserver/gale/jobs"
	"github.com/galeserver/gale/jobs/driver"
)

// leaseID is the decoded id of a lease. Its text is
// WORKER~RANDOM~ATTEMPT~DEADLINE~TASK, of which the first two parts are the session.
type leaseID struct {
	session string
	attempt int
	// deadline is the time after which the server ends the attempt as timed out; zero: never.
	deadline time.Time
	task     string
}

// separator occurs in no task id. RFC 3986 allows it in a path.
const separator = "~"

var errLeaseID = errors.New("lease: not the id of a lease")

func (l leaseID) String() string {
	deadline := int64(0)
	if !l.deadline.IsZero() {
		deadline = l.deadline.UnixMilli()
	}
	return strings.Join([]string{l.session, strconv.Itoa(l.attempt), strconv.FormatInt(deadline, 36), l.task}, separator)
}

// lease returns the lease for the task store. Its task has only an id.
func (l leaseID) lease() *driver.Lease {
	return &driver.Lease{Task: &jobs.Task{ID: l.task}, Owner: l.session, Attempt: l.attempt}
}

func parseLease(text string) (l leaseID, err error) {
	parts := strings.Split(text, separator)
	if len(parts) != 5 {
		return l, errLeaseID
	}
	l.session, l.task = parts[0]+separator+parts[1], parts[4]
	deadline, err := strconv.ParseInt(parts[3], 36, 64)
	if err != nil || deadline < 0 || !jobs.ValidID(l.task) || !validSession(l.session) {
		return l, errLeaseID
	}
	if deadline > 0 {
		l.deadline = time.UnixMilli(deadline)
	}
	if l.attempt, err = strconv.Atoi(parts[2]); err != nil || l.attempt < 1 {
		return l, errLeaseID
	}
	return l, nil
}

// maxWorkerName is the largest length of the name of a worker, in bytes.
const maxWorkerName = 100

// newSession returns the id of a new session. It starts with the name of the worker, in
// which other characters than letters, digits, dots, underscores and hyphens are replaced.
func newSession(worker string) string {
	safe := strings.Map(func(r rune) rune {
		if r < 0x80 && jobs.ValidID(string(r)) || r == '.' {
			return r
		}
		return '-'
	}, worker)
	return safe + separator + jobs.NewID()
}

func validSession(id string) bool {
	name, random, ok := strings.Cut(id, separator)
	return ok && len(name) <= maxWorkerName && (jobs.ValidID(name) || strings.Trim(name, ".") == "" && name != "") && jobs.ValidID(random)
}
