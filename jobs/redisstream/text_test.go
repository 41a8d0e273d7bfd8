package redisstream_test

import (
	"testing"

	"github.com/galeserver/gale/internal/redistest"
	"github.com/galeserver/gale/jobs/jobstest"
	"github.com/galeserver/gale/jobs/redisstream"
)

// Invalid texts that an older version has stored are valid when they are read.
func TestStoredTextIsRepaired(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s, err := redisstream.Open(t.Context(), server.URL(), redisstream.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	jobstest.EnqueueForRepair(t, s)
	redis := server.Client()
	for _, err := range []error{
		redis.HSet(t.Context(), "{gale:jobs}:task:a", "args", "[\"a\xff\xfeb\",\"\\ud800\"]", "result", "\"\xff\"", "note", "n\xff", "error", "e\xff").Err(),
		redis.HSet(t.Context(), "{gale:jobs}:group:g", "reason", "r\xff").Err(),
		redis.Set(t.Context(), "{gale:jobs}:log:a", "l\xff", 0).Err(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	jobstest.WantRepaired(t, s)
}
