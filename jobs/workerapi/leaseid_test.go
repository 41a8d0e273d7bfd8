package workerapi

import (
	"testing"
	"time"

	"github.com/galeserver/gale/jobs"
)

// FuzzLeaseID checks that every text is refused or names one lease, whose text has the same
// meaning.
func FuzzLeaseID(f *testing.F) {
	f.Add(leaseID{session: newSession("w"), attempt: 1, task: "a"}.String())
	f.Add(leaseID{session: newSession("é/~"), attempt: 1 << 40, deadline: time.UnixMilli(1 << 50), task: jobs.NewID()}.String())
	f.Add("w~r~+1~0~t")
	f.Add("..~r~1~-1~t")
	f.Add("w~r~1~0~t~")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseLease(text)
		if err != nil {
			return
		}
		if !jobs.ValidID(l.task) || l.attempt < 1 {
			t.Errorf("%q is %+v", text, l)
		}
		again, err := parseLease(l.String())
		if err != nil || again.session != l.session || again.task != l.task || again.attempt != l.attempt || !again.deadline.Equal(l.deadline) {
			t.Errorf("%q is %+v, and its text %q is %+v, %v", text, l, l.String(), again, err)
		}
	})
}
